// The work that a gateway may ask of a device before it joins a line: to find the
// number that gives a challenge a hash which begins with enough zero bits. It is
// done here, in slices that leave the page its time, and asks nobody. It goes
// behind sha256.js.
(function () {
  'use strict';
  const ropeline = window.ropeline = window.ropeline || {};

  // solve resolves to a challenge with its number. progress gets, now and then,
  // the share of devices that would have found theirs by now.
  ropeline.solve = function (work, progress) {
    // The challenge, a dot, twelve digits and a bit that ends them are one block.
    const text = new TextEncoder().encode(work.challenge + '.100000000000'), bytes = new Uint8Array(64);
    bytes.set(text);
    bytes[text.length] = 128;
    const view = new DataView(bytes.buffer), w = new Int32Array(64), hash = new Int32Array(8);
    view.setUint32(60, 8 * text.length);
    for (let i = 0; i < 16; i++) w[i] = view.getInt32(4 * i);
    const first = text.length - 12 >> 2, last = text.length - 1 >> 2;
    let tries = 0;

    function found() {
      hash.set(ropelineHash.start);
      ropelineHash.block(hash, w);
      tries++;
      if (hash[0] >>> (32 - work.bits) === 0) return true;
      let at = text.length - 1;
      while (bytes[at] === 57) bytes[at--] = 48; // 9 and one is 0, and one more in front
      bytes[at]++;
      for (let i = first; i <= last; i++) w[i] = view.getInt32(4 * i);
      return false;
    }

    return new Promise(function (resolve) {
      // Timers of a hidden tab come once a second; messages do not wait.
      const turns = new MessageChannel();
      turns.port1.onmessage = function () {
        const end = performance.now() + 12;
        while (performance.now() < end) {
          for (let i = 0; i < 100; i++) {
            if (!found()) continue;
            turns.port1.close();
            resolve(new TextDecoder().decode(bytes.subarray(0, text.length)));
            return;
          }
        }
        if (progress) progress(1 - Math.exp(-tries / Math.pow(2, work.bits)));
        turns.port2.postMessage(0);
      };
      turns.port2.postMessage(0);
    });
  };

  // work does the work that a status asks for, and keeps what it found for the
  // request that is then made again, on the same host. It resolves to whether
  // the browser keeps it.
  ropeline.work = async function (status, progress) {
    const solution = await ropeline.solve(status.work, progress);
    const secure = location.protocol === 'https:';
    document.cookie = (secure ? '__Host-' : '') + 'ropeline-work-' + status.activity + '=' + solution +
      '; Path=/; Max-Age=300; SameSite=Lax' + (secure ? '; Secure' : '');
    return document.cookie.includes(solution);
  };
})();
