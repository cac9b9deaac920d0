// The visitor's side of the line: asks the gateway where this visitor stands,
// at the pace that the gateway sets. The waiting page carries it; a shop's own
// page may load it as <prefix>/client.js and gets window.ropeline.
(function () {
  'use strict';
  const me = document.currentScript;
  // Loaded from <prefix>/client.js or <prefix>/assets/client.….js, or told.
  const base = me.src ? me.src.replace(/(assets\/)?[^\/]*$/, '') : me.dataset.base;

  async function call(method, name, activity, more) {
    const answer = await fetch(base + name + '?activity=' + activity + (more || ''), {
      method: method,
      credentials: 'same-origin',
      cache: 'no-store',
      headers: {Accept: 'application/json'},
      signal: AbortSignal.timeout ? AbortSignal.timeout(15000) : undefined
    });
    if (!answer.ok) {
      const problem = new Error(name + ': ' + answer.status);
      problem.after = 1000 * answer.headers.get('Retry-After') || 0;
      throw problem;
    }
    return answer.json();
  }

  // watch follows the line of an activity until the gateway says that there is
  // no more to ask. tell gets every answer, away how many times in a row there
  // was none. It returns a function that ends it. words is the language to be
  // answered in; with it, seen may give what was shown of the wait.
  function watch(activity, settings) {
    return follow(function () {
      return call('GET', 'status', activity, settings.words && '&words=' + settings.words + '&shown=' + (settings.seen ? settings.seen() : ''));
    }, settings);
  }

  // follow asks as watch does, whatever ask asks. A problem that is final ends
  // it, and is told to refused.
  function follow(question, settings) {
    let last = settings.status || {poll_after_ms: 1};
    let timer = 0, asking = false, over = false, failures = 0, retry = 0, asked = Date.now();

    // How long to leave it now, in ms. The gateway put its jitter into
    // poll_after_ms; after a failure everyone was thrown out at one instant, so
    // there we spread ourselves. A hidden tab asks as seldom as keeps it present.
    function pause() {
      if (failures) {
        return Math.max(retry, Math.min(60000, 2000 * Math.pow(2, failures))) * (0.5 + Math.random());
      }
      const rest = document.hidden ? (last.poll_max_ms || 0) * (0.8 + 0.2 * Math.random()) : 0;
      return Math.max(last.poll_after_ms, rest);
    }

    function wait() {
      clearTimeout(timer);
      if (!over) timer = setTimeout(ask, pause());
    }

    async function ask() {
      if (asking || over) return;
      clearTimeout(timer);
      asking = true;
      asked = Date.now();
      try {
        last = await question();
        failures = 0;
      } catch (problem) {
        if (problem.final) {
          if (!over) settings.refused(problem);
          over = true;
          return;
        }
        failures++;
        retry = problem.after || 0;
      }
      asking = false;
      if (over) return;
      over = !failures && !last.poll_after_ms;
      wait();
      if (failures) {
        if (settings.away) settings.away(failures);
      } else {
        settings.tell(last);
      }
    }

    // Seen again, online again, or out of the back-forward cache: ask at once,
    // but someone who flips through tabs asks no more often than every 2 s.
    function back() {
      if (!asking && !document.hidden && Date.now() - asked > 2000) ask();
      else if (!asking) wait();
    }

    document.addEventListener('visibilitychange', back);
    document.addEventListener('resume', back); // of a page that was put to sleep
    addEventListener('online', back);
    addEventListener('pageshow', function (event) { if (event.persisted) back(); });
    wait();
    const end = function () { over = true; clearTimeout(timer); };
    end.ask = function () { if (!asking) ask(); }; // now
    return end;
  }

  window.ropeline = Object.assign(window.ropeline || {}, {
    status: function (activity) { return call('GET', 'status', activity); },
    session: function (activity, lang) {
      return call('GET', 'session', activity, lang === undefined ? '' : '&words=' + encodeURIComponent(lang));
    },
    leave: function (activity) { return call('POST', 'leave', activity); },
    watch: watch,
    follow: follow,
    base: base
  });
})();
