// The queue API for pages of the shop's own, behind client.js: takes a place and
// follows it, at the pace that the gateway sets, until the turn comes.
(function () {
  'use strict';
  const ropeline = window.ropeline;

  // Refusals that asking again may mend.
  const passing = ['RATE_LIMIT_EXCEEDED', 'STORE_UNAVAILABLE', 'INTERNAL_ERROR', 'WORK_REQUIRED'];

  async function call(url, settings, body) {
    const headers = {Accept: 'application/json'};
    if (body) headers['Content-Type'] = 'application/json';
    if (settings.token) headers.Authorization = 'Bearer ' + settings.token;
    const answer = await fetch(url, {
      method: body ? 'POST' : 'GET',
      credentials: 'omit',
      cache: 'no-store',
      headers: headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout ? AbortSignal.timeout(15000) : undefined
    });
    const said = await answer.json();
    if (said.success) return said.data;
    const problem = new Error(said.message);
    problem.code = said.error;
    problem.details = said.details;
    problem.requestID = said.request_id;
    problem.after = 1000 * said.retry_after || 0;
    problem.final = !passing.includes(said.error) && said.details.reason !== 'before';
    throw problem;
  }

  // join takes a place for settings.user in the line of settings.activity, or
  // finds the one that this user has, and follows it. Optional are fingerprint;
  // token, the shop's JWT; and api, where the queue API is, if not beside this
  // script. wait(place) gets every answer while the turn has not come,
  // ready(place) the one with admission_token, and no other after it. over(why)
  // gets 'sold_out', 'ended' or 'expired', or, as an Error with its code, what
  // the gateway refused. away gets how many times in a row there was no answer,
  // and work, while this device works for its place, how far it probably is.
  // It returns a function that ends it; the place is kept.
  ropeline.join = function (settings) {
    const api = (settings.api === undefined ? ropeline.base.replace(/\/$/, '') : settings.api) + '/api/v1/queue/';
    let session = '';

    async function enter(work) {
      try {
        return await call(api + 'enter', settings, {
          activity_id: settings.activity, user_hash: settings.user, fingerprint: settings.fingerprint, work: work
        });
      } catch (problem) {
        if (problem.code === 'WORK_REQUIRED' && !work) return enter(await ropeline.solve(problem.details, settings.work));
        if (problem.code !== 'USER_ALREADY_IN_QUEUE') throw problem;
        return problem.details;
      }
    }

    async function ask() {
      const place = session
        ? await call(api + 'status?activity_id=' + settings.activity + '&session_id=' + encodeURIComponent(session), settings)
        : await enter();
      const first = !session;
      session = place.session_id;
      // At the front nothing is gained by waiting before the first question.
      const on = first || place.status === 'waiting';
      return {place: place, poll_after_ms: on ? Math.max(place.polling_interval, 1) : 0};
    }

    return ropeline.follow(ask, {
      away: settings.away,
      refused: function (problem) { if (settings.over) settings.over(problem); },
      tell: function (answer) {
        const place = answer.place;
        if (place.status === 'ready') return settings.ready(place);
        if (place.status === 'expired') return settings.over && settings.over(place.reason || 'expired');
        if (settings.wait) settings.wait(place);
      }
    });
  };
})();
