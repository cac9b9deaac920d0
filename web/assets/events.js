// The status as a stream, for pages of the shop's own, behind client.js.
(function () {
  'use strict';
  const ropeline = window.ropeline;

  // listen is ropeline.watch by an event stream: tell gets a status as soon as
  // it changes. Where the gateway has no stream to give, and where the browser
  // has none, it asks as watch does. It returns a function that ends it.
  ropeline.listen = function (activity, settings) {
    if (!window.EventSource) return ropeline.watch(activity, settings);
    const source = new EventSource(ropeline.base + 'events?activity=' + activity +
      (settings.words ? '&words=' + settings.words + '&shown=' + (settings.seen ? settings.seen() : '') : ''));
    let stop = function () { source.close(); }, failures = 0;
    source.onmessage = function (event) {
      const status = JSON.parse(event.data);
      failures = 0;
      if (!status.poll_after_ms) source.close();
      settings.tell(status);
    };
    // The browser opens a stream that broke off by itself, and gives up one
    // that was refused.
    source.onerror = function () {
      if (source.readyState === EventSource.CLOSED) stop = ropeline.watch(activity, settings);
      else if (++failures > 1 && settings.away) settings.away(failures); // one is a stream whose time was over
    };
    return function () { stop(); };
  };
})();
