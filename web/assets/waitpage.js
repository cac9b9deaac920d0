// Keeps the waiting page true without reloading it. All sentences come from the
// gateway, with each status; only what ticks or moves is made here.
(function () {
  'use strict';
  const page = document.getElementById('page');
  const data = page.dataset;
  const lang = document.documentElement.lang;
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  const part = {};
  page.querySelectorAll('[data-part]').forEach(function (e) { part[e.dataset.part] = e; });

  let status = JSON.parse(document.getElementById('status').textContent);
  let shown = status.position, frame = 0; // the position on the screen, on its way to status.position
  let heard = performance.now();          // when status came, on a clock that nobody sets
  let said = '', saidAt = 0;              // what a screen reader was told last, and when
  const held = 'form' in data;            // the page stands in for a form that was not sent

  // inside: by now the gateway lets this very address through.
  function inside() { return status.state === 'ready' || status.state === 'admitted'; }
  // askable: it would give a place, or back the place that a missed turn cost.
  function askable() { return !status.unavailable && (status.state === 'new' || status.lapsed === true); }

  function put(name, text) {
    if (part[name] && part[name].textContent !== text) part[name].textContent = text;
  }

  function figure(text) {
    put('figure', text);
    part.figure.classList.toggle('long', text.length > 5);
  }

  // Counts from the shown position to the new one, so that a leap reads as
  // movement.
  function count(to) {
    cancelAnimationFrame(frame);
    const from = shown, start = performance.now();
    if (!from || from === to || still.matches || document.hidden) {
      shown = to;
      figure(to.toLocaleString(lang));
      return;
    }
    (function step(now) {
      const t = Math.min(1, Math.max(0, (now - start) / 900));
      shown = Math.round(to + (from - to) * Math.pow(1 - t, 3));
      figure(shown.toLocaleString(lang));
      if (t < 1) frame = requestAnimationFrame(step);
    })(start);
  }

  // How far this visitor has come since the first position seen in this tab.
  function progress() {
    const on = status.state === 'waiting' && status.position && !status.unavailable;
    part.track.hidden = !on;
    if (!on) return;
    const key = 'ropeline-' + data.activity + '-' + status.number;
    let first = status.position;
    try { // storage may be forbidden
      first = Math.max(first, sessionStorage.getItem(key));
      sessionStorage.setItem(key, first);
    } catch (e) {}
    part.track.style.setProperty('--way', 1 - status.position / (first + 1));
  }

  // Counts down by the gateway's clock: this device's own may be wrong.
  function tick() {
    if (status.state !== 'before' || !status.starts_at || status.unavailable) return;
    const now = Date.parse(status.updated_at) + performance.now() - heard;
    const left = Math.max(0, Math.ceil((Date.parse(status.starts_at) - now) / 1000));
    const two = function (n) { return String(n).padStart(2, '0'); };
    const hours = Math.floor(left / 3600);
    figure(hours < 24 ? two(hours) + ':' + two(Math.floor(left / 60) % 60) + ':' + two(left % 60)
      : Math.floor(hours / 24) + 'd ' + hours % 24 + 'h');
  }

  function show() {
    const words = status.words;
    document.title = words.title;
    data.state = status.state;
    put('before', words.heading[0]);
    put('after', words.heading[2]);
    if (status.state === 'waiting' && words.heading[1]) count(status.position);
    else figure(words.heading[1]);
    put('detail', words.detail);
    put('label', words.label);
    put('wait', words.wait);
    put('note', words.note);
    put('message', status.message);
    if (part.again) part.again.hidden = !inside() && !askable();
    local();
    tick();
    progress();
  }

  // The start in this visitor's own time zone.
  function local() {
    if (status.state !== 'before' || !status.starts_at) return;
    put('wait', new Date(status.starts_at).toLocaleString(lang, {dateStyle: 'long', timeStyle: 'short'}));
  }

  // A screen reader is told of a new state at once, of movement every 30 s.
  function say(text, now) {
    if (text === said || (!now && Date.now() - saidAt < 30000)) return;
    said = text;
    saidAt = Date.now();
    put('say', text);
  }

  function away(yes) {
    page.classList.toggle('away', yes);
    put('live', yes ? data.away : data.live);
    if (yes) say(data.away, true);
  }

  const stop = ropeline.watch(data.activity, {
    status: status,
    words: lang,
    away: function () { away(true); },
    tell: function (answer) {
      const before = status, back = page.classList.contains('away');
      if (answer.state === 'new' && before.number) { // the place is gone; joining again is the visitor's choice
        stop();
        data.state = 'lost';
        return say(part.lost.textContent, true);
      }
      status = answer;
      heard = performance.now();
      away(false);
      // A form that was held is neither sent nor thrown away by us.
      if (!held && askable()) return location.reload();
      show();
      const words = status.words;
      say(words.heading.join(' ') + '. ' + words.detail + ' ' + words.wait,
        back || status.state !== before.state || status.paused !== before.paused || status.unavailable !== before.unavailable);
      if (!held && inside()) setTimeout(function () { location.reload(); }, 500);
    }
  });

  local();
  tick();
  setInterval(tick, 500);
  progress();
  put('live', data.live);
})();
