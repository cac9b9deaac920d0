// Keeps the waiting page true without reloading it. All sentences come from the
// gateway, with each status; only what ticks or moves is made here.
(function () {
  'use strict';
  const page = document.getElementById('page');
  const data = page.dataset;
  const lang = document.documentElement.lang;
  const still = matchMedia('(prefers-reduced-motion: reduce)');
  const part = {};
  // A page of the operator's has the parts that it wants; the rest nobody sees.
  ['figure', 'track', 'telling', 'tell', 'told'].forEach(function (name) { part[name] = document.createElement('p'); });
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

  // placed: the visitor had a place, of which an index in a draw is one.
  function placed(s) { return s.number || s.draw && s.draw.index !== null; }

  function put(name, text) {
    if (part[name] && part[name].textContent !== text) part[name].textContent = text;
  }

  function figure(text) {
    put('figure', text);
    part.figure.classList.toggle('long', text.length > 5 || text.includes(' '));
  }

  function number(n) {
    const digits = String(n);
    return digits.length < data.grouped ? digits : digits.replace(/\B(?=(\d{3})+$)/g, data.group);
  }

  // Counts from the shown position to the new one, so that a leap reads as
  // movement.
  function count(to) {
    cancelAnimationFrame(frame);
    const from = shown, start = performance.now();
    if (!from || from === to || still.matches || document.hidden) {
      shown = to;
      figure(number(to));
      return;
    }
    (function step(now) {
      const t = Math.min(1, Math.max(0, (now - start) / 900));
      shown = Math.round(to + (from - to) * Math.pow(1 - t, 3));
      figure(number(shown));
      if (t < 1) frame = requestAnimationFrame(step);
    })(start);
    // A window that nothing shows of draws no frames, and must not be wrong.
    setTimeout(function () {
      if (status.position !== to || status.state !== 'waiting') return;
      shown = to;
      figure(number(to));
    }, 1000);
  }

  // What this tab remembers over a reload, of this place in line.
  function recall(what, value) {
    const key = 'ropeline-' + what + '-' + data.activity + '-' + status.number;
    try { // storage may be forbidden
      if (value !== undefined) sessionStorage.setItem(key, JSON.stringify(value));
      return JSON.parse(sessionStorage.getItem(key));
    } catch (e) { return null; }
  }

  // How far this visitor has come since the first position seen in this tab.
  function progress() {
    const on = status.state === 'waiting' && status.position && !status.unavailable;
    part.track.hidden = !on;
    if (!on) return;
    const first = Math.max(status.position, recall('first'));
    recall('first', first);
    part.track.style.setProperty('--way', 1 - status.position / (first + 1));
  }

  // The wait shown last: the gateway is told with each question, so that it can
  // give a reason where the new one is longer.
  let band = recall('band');
  let reason = '', reasonAt = 0;

  function left() { return Math.max(1, Math.round(band.high - (Date.now() - band.at) / 1000)); }
  function seen() { return band ? left() + '.' + (band.position || 0) + '.' + band.stop : ''; }
  function stood(why) { if (band) recall('band', Object.assign(band, {stop: band.stop || why})); }

  function keep(high) {
    band = recall('band', {high: high, at: Date.now(), position: status.position, stop: ''});
  }

  function explain(words) {
    if (words.band) keep(words.band[1]);
    else if (status.paused) stood('paused');
    else if (status.unavailable) stood('away');
    if (words.reason) {
      reason = words.reason;
      reasonAt = Date.now();
    }
    put('reason', words.band && Date.now() - reasonAt < 120000 ? reason : ''); // time to read it
  }

  function two(n) { return String(n).padStart(2, '0'); }

  // Counts down by the gateway's clock: this device's own may be wrong.
  function tick() {
    const passed = (performance.now() - heard) / 1000;
    if (status.state === 'ready' && status.claim_s) {
      const s = Math.max(0, Math.ceil(status.claim_s - passed));
      const clock = Math.floor(s / 60) + ':' + two(s % 60);
      put('note', data.claim.replace('{clock}', clock));
      if (status.words && data.state === 'ready') document.title = clock + ' · ' + status.words.title;
    }
    if (status.state !== 'before' || !status.starts_at || status.unavailable) return;
    const s = Math.max(0, Math.ceil((Date.parse(status.starts_at) - Date.parse(status.updated_at)) / 1000 - passed));
    const hours = Math.floor(s / 3600);
    figure(hours < 24 ? two(hours) + ':' + two(Math.floor(s / 60) % 60) + ':' + two(s % 60)
      : data.days.replace('{d}', Math.floor(hours / 24)).replace('{h}', hours % 24));
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
    explain(words);
    local();
    tick();
    progress();
    check();
  }

  // Where there is a draw, the page has what checks it.
  function check() {
    if (window.ropelineDraw) ropelineDraw.show(status);
  }

  // The start in this visitor's own time zone.
  function local() {
    if (status.state !== 'before' || !status.starts_at) return;
    put('wait', new Date(status.starts_at).toLocaleString(lang + '-u-nu-latn', {dateStyle: 'long', timeStyle: 'short'}));
  }

  // A screen reader is told of a new state at once, of movement every 30 s.
  function say(text, now) {
    if (text === said || (!now && Date.now() - saidAt < 30000)) return;
    said = text;
    saidAt = Date.now();
    put('say', text);
  }

  function away(yes) {
    const why = navigator.onLine === false ? data.offline : data.away;
    page.classList.toggle('away', yes);
    put('live', yes ? why : data.live);
    if (yes) say(why, true);
  }

  // Tells by sound, and by notification where that is allowed, that the turn
  // came; only to who pressed the button.
  const Audio = window.AudioContext || window.webkitAudioContext;
  let audio = null, telling = false, told = 0; // told: of this turn

  function chime() {
    if (!audio) return;
    [[660, 0], [880, 0.22]].forEach(function (note) {
      const tone = audio.createOscillator(), gain = audio.createGain(), at = audio.currentTime + note[1];
      tone.frequency.value = note[0];
      gain.gain.setValueAtTime(0, at);
      gain.gain.linearRampToValueAtTime(0.15, at + 0.03);
      gain.gain.exponentialRampToValueAtTime(0.001, at + 0.7);
      tone.connect(gain).connect(audio.destination);
      tone.start(at);
      tone.stop(at + 0.7);
    });
  }

  function tell(on) {
    telling = on;
    part.tell.setAttribute('aria-pressed', on);
    part.told.hidden = !on;
  }

  function announce() {
    if (told || !telling) return;
    told = 1;
    try {
      chime();
      if (window.Notification && Notification.permission === 'granted' && document.hidden) {
        const note = new Notification(status.words.title, {tag: 'ropeline-' + data.activity});
        note.onclick = function () { window.focus(); note.close(); };
      }
    } catch (e) {} // some phones have notifications, and none for pages
  }

  if (Audio && !inside() && !status.work) {
    part.telling.hidden = false;
    part.tell.addEventListener('click', function () {
      tell(!telling);
      if (!telling) return;
      say(part.told.textContent, true);
      audio = audio || new Audio();
      chime();
      if (window.Notification && Notification.permission === 'default') Notification.requestPermission();
    });
  }

  // One visit is enough for all tabs: of those that wait, the one in front goes
  // in. A tab whose turn came asks the others; one that is more in front says
  // so, and asks the gateway itself.
  const tabs = window.BroadcastChannel ? new BroadcastChannel('ropeline-' + data.activity) : null;
  let since = Date.now();              // when this tab came to the front
  let better = false, asking = false;  // another tab is more in front; the others are being asked
  let claim = 0;                       // of this turn, in s, as it was first told
  let taken = 0;                       // when another tab went in

  function rank() { return (document.hidden ? 0 : document.hasFocus() ? 2 : 1) * 1e14 + since; }
  function came() { if (!document.hidden) since = Date.now(); }
  document.addEventListener('visibilitychange', came);
  addEventListener('focus', came);

  if (tabs) tabs.onmessage = function (message) {
    const from = message.data;
    if (from.turn && rank() > from.turn && !held && data.state !== 'lost') {
      tabs.postMessage({better: true});
      stop.ask();
    }
    if (from.better) better = true;
    if (from.entered) {
      taken = Date.now();
      if (inside()) elsewhere();
    }
  };

  function elsewhere() {
    data.state = 'elsewhere';
    document.title = part.elsewhere.textContent;
    say(part.elsewhere.textContent, true);
  }

  function enter() {
    if (tabs) tabs.postMessage({entered: true});
    location.reload();
  }

  // A tab behind others leaves some of the claim to whoever comes back to it,
  // but not so much that a browser that lets it sleep could miss the rest.
  function turn() {
    if (status.state === 'admitted') {
      if (document.hidden || taken) elsewhere();
      else enter();
      return;
    }
    if (taken && Date.now() - taken < 15000) return elsewhere();
    claim = claim || status.claim_s || 0;
    const left = (status.claim_s || 0) - (performance.now() - heard) / 1000;
    announce();
    if (document.hidden && left > Math.max(60, claim / 2)) {
      setTimeout(again, (left - Math.max(60, claim / 2)) * 1000);
      return;
    }
    if (asking) return;
    better = false;
    asking = true;
    if (tabs) tabs.postMessage({turn: rank()});
    setTimeout(function () {
      asking = false;
      if (!better && status.state === 'ready' && data.state === 'ready') enter();
    }, 500);
  }

  function again() { if (!held && status.state === 'ready') turn(); }
  document.addEventListener('visibilitychange', again);

  // A reload must not show a longer wait than before without a reason either.
  const longer = band && status.wait.known && status.wait.high_s > left();
  if (!band && status.wait.known && status.state === 'waiting' && !status.paused) keep(status.wait.high_s);

  // Where there is no activity yet, there is none to watch: the page asks for
  // its own address until that has another answer.
  function look() {
    return ropeline.follow(async function () {
      const answer = await fetch(location.href, {headers: {Accept: 'application/json'}, cache: 'no-store'});
      const found = await answer.json().catch(function () { return {}; });
      return {found: found.activity !== 0, poll_after_ms: 30000 + 8000 * Math.random()};
    }, {
      status: {poll_after_ms: 30000 + 8000 * Math.random()},
      away: function () { away(true); },
      tell: function (answer) {
        away(false);
        if (answer.found && !held) location.reload();
      }
    });
  }

  // Where the gateway asks for work first, the page does it, and then asks for its
  // own address again. A browser whose work is not taken, as its network is
  // another each time, tries more and more seldom.
  function work() {
    const last = recall('work'), began = Date.now();
    const times = last && began - last.at < 600000 ? last.times + 1 : 1;
    recall('work', {times: times, at: began});
    say(document.title + '. ' + (part.detail ? part.detail.textContent : ''), true);
    async function begin() {
      part.track.hidden = false;
      const kept = await ropeline.work(status, function (way) {
        part.track.style.setProperty('--way', way);
        if (Date.now() - began < 10000) return;
        put('note', data.still);
        say(data.still);
      });
      if (!kept) {
        put('note', '');
        put('detail', data.cookies);
        return say(data.cookies, true);
      }
      if (!held) return location.reload();
      if (part.again) part.again.hidden = false;
    }
    const pause = times > 3 ? Math.min(60000, 1000 * Math.pow(2, times)) : 0;
    if (status.work.challenge) setTimeout(begin, pause);
    const end = function () {};
    end.ask = end;
    return end;
  }

  const stop = data.activity === '0' ? look() : status.work ? work() : ropeline.watch(data.activity, {
    status: longer ? Object.assign({}, status, {poll_after_ms: 1}) : status,
    words: lang,
    seen: seen,
    away: function (times) {
      if (times > 1) stood('away'); // once may be no more than a reload that cut the question off
      away(true);
    },
    tell: function (answer) {
      const before = status, back = page.classList.contains('away');
      if (answer.state === 'new' && placed(before)) { // the place is gone; joining again is the visitor's choice
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
      say(words.heading.join(' ') + '. ' + words.detail + ' ' + words.wait + ' ' + words.reason,
        back || words.reason || status.state !== before.state || status.paused !== before.paused || status.unavailable !== before.unavailable);
      if (!inside()) claim = taken = told = 0;
      else if (held) announce();
      else turn();
    }
  });

  addEventListener('offline', function () { away(true); });

  local();
  tick();
  setInterval(tick, 500);
  progress();
  check();
  put('live', data.live);
})();
