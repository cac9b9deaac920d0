// For pages of the shop, behind client.js: tells an admitted visitor when the
// time inside ends, and lets them stay by using the shop.
(function () {
  'use strict';
  const ropeline = window.ropeline;

  // watch shows a notice settings.warn seconds (120) before the session of an
  // activity ends. Its button asks the shop for settings.path, by default this
  // page, as any use of the shop renews the session; where that gains nothing
  // any more, the notice says so. All settings may be left out: lang is the
  // language to speak, by default the page's. With tell there is no notice: it
  // gets the seconds left, from warn on, every second, and 0 at the end. watch
  // returns a function that ends it.
  ropeline.session.watch = function (activity, settings) {
    settings = settings || {};
    const lang = settings.lang || document.documentElement.lang;
    let words = null, ends = 0, admitted = false, known = false, last = false, done = false, asking = false, timer = 0, notice = null;
    let warn = 1000 * (settings.warn || 120), longest = 0;

    async function ask() {
      if (asking || done) return;
      asking = true;
      try {
        const answer = await ropeline.session(activity, lang);
        words = answer.words;
        admitted = answer.state === 'admitted';
        ends = Date.now() + 1000 * (answer.session_s || 0);
        // Not sooner than half way: a session that was renewed just now is not
        // renewed again at once, and the button would seem to gain nothing.
        longest = Math.max(longest, ends - Date.now());
        warn = Math.min(warn, longest / 2 || warn);
        known = known || admitted;
      } catch (e) {} // away: what was known stays true, and is asked again
      asking = false;
      next();
    }

    function next() {
      clearTimeout(timer);
      if (done) return;
      const left = ends - Date.now();
      if (known && !admitted) return end();
      if (!known || left <= 0) timer = setTimeout(ask, known ? 2000 : 30000);
      else if (left > warn) timer = setTimeout(ask, Math.min(left - warn, 3600000)); // renewed meanwhile, or not
      else timer = setTimeout(next, 1000);
      if (known) tell(left > warn || left <= 0 ? null : Math.ceil(left / 1000));
    }

    function end() {
      done = true;
      if (settings.tell) settings.tell(0);
      else show(words.over);
    }

    function tell(seconds) {
      if (settings.tell) {
        if (seconds) settings.tell(seconds);
        return;
      }
      if (!seconds) return show('');
      const clock = Math.floor(seconds / 60) + ':' + String(seconds % 60).padStart(2, '0');
      show((last ? words.last : words.ends).replace('{clock}', clock), !last && words.stay);
    }

    // Styled by properties, which no policy of a shop's page forbids.
    function show(text, button) {
      if (!text) {
        if (notice) notice.remove();
        notice = null;
        last = false;
        return;
      }
      if (!notice) {
        notice = document.createElement('div');
        notice.id = 'ropeline-session';
        notice.dir = words.direction;
        notice.lang = words.lang;
        notice.setAttribute('role', 'region');
        notice.style.cssText = 'position:fixed;inset:auto 0 0;z-index:2147483647;padding:14px 16px;text-align:center;' +
          'background:Canvas;color:CanvasText;border-top:2px solid;font:16px/1.5 system-ui,sans-serif';
        notice.append(document.createElement('span'), ' ', document.createElement('button'), document.createElement('div'));
        notice.lastChild.setAttribute('role', 'status'); // read aloud once, not every second
        notice.lastChild.style.cssText = 'position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)';
        notice.children[1].style.cssText = 'font:inherit;min-height:44px;padding:8px 20px;margin:4px 8px';
        notice.children[1].type = 'button';
        notice.children[1].onclick = stay;
        document.body.append(notice);
        const box = notice;
        setTimeout(function () { box.lastChild.textContent = box.firstChild.textContent; }, 100);
      }
      notice.firstChild.textContent = text;
      notice.children[1].textContent = button || '';
      notice.children[1].hidden = !button;
      if (!button) notice.lastChild.textContent = done ? text : notice.lastChild.textContent;
    }

    async function stay() {
      const before = ends;
      try {
        await fetch(settings.path || location.href, {method: 'HEAD', credentials: 'same-origin', cache: 'no-store'});
      } catch (e) { return; } // the button is still there
      await ask();
      last = ends - before < 2000 && ends - Date.now() <= warn;
      next();
    }

    function seen() { if (!document.hidden) ask(); }
    document.addEventListener('visibilitychange', seen);
    ask();
    return function () {
      done = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', seen);
      show('');
    };
  };
})();
