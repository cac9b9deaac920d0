// Checks a draw on the visitor's own device, with nothing but what the page was
// told: that the seed is of the commitment, and that the number is of the index.
// It goes behind sha256.js.
(function () {
  'use strict';
  const sha256 = ropelineHash.sha256;

  function join(a, b) {
    const all = new Uint8Array(a.length + b.length);
    all.set(a);
    all.set(b, a.length);
    return all;
  }

  // hmac is HMAC-SHA256 (RFC 2104) by a key of at most 64 bytes.
  function hmac(key, text) {
    const pad = function (x) { return join(key, new Uint8Array(64 - key.length)).map(function (b) { return b ^ x; }); };
    return sha256(join(pad(0x5c), sha256(join(pad(0x36), text))));
  }

  function fromHex(text) {
    return Uint8Array.from(text.match(/../g), function (pair) { return parseInt(pair, 16); });
  }

  // commitment is the SHA-256 of a seed, both in hexadecimal.
  function commitment(seed) {
    return Array.from(sha256(fromHex(seed)), function (b) { return b.toString(16).padStart(2, '0'); }).join('');
  }

  // number is the number of an index, in a draw of n places. value is the public
  // value that the draw was mixed with; empty: it has none.
  function number(seed, value, n, index) {
    let key = fromHex(seed);
    if (value) key = hmac(key, new TextEncoder().encode(value));
    let wide = Math.floor(Math.sqrt(n));
    while (wide * wide < n) wide++;
    const high = Math.ceil(n / wide);
    const random = function (round, digit) {
      const text = new DataView(new ArrayBuffer(9));
      text.setUint8(0, round);
      text.setUint32(1, Math.floor(digit / 4294967296));
      text.setUint32(5, digit);
      const sum = new DataView(sha256(join(key, new Uint8Array(text.buffer))).buffer);
      return sum.getUint32(0) * 65536 + sum.getUint16(4);
    };
    let at = index;
    do {
      let left = at % wide, right = Math.floor(at / wide);
      for (let round = 0; round < 10; round++) {
        if (round % 2 === 0) left = (left + random(round, right)) % wide;
        else right = (right + random(round, left)) % high;
      }
      at = left + wide * right;
    } while (at >= n);
    return at + 1;
  }

  // show fills the part of the page that tells of the draw.
  function show(status) {
    const draw = status.draw, box = document.getElementById('draw');
    if (!draw || !box) return;
    const beacon = draw.beacon || {};
    const facts = {
      commitment: draw.commitment, source: beacon.source, value: beacon.value,
      seed: draw.seed, n: draw.n, index: draw.index, number: draw.index === null ? null : status.number
    };
    for (const name in facts) {
      const row = box.querySelector('[data-fact=' + name + ']'), known = facts[name] !== null && facts[name] !== undefined;
      row.hidden = !known;
      row.lastElementChild.textContent = known ? facts[name] : '';
    }
    let verdict = box.dataset.open;
    if (draw.seed) {
      // An index that nobody told of at the start stands behind the drawn.
      const drawn = draw.index !== null && draw.index < draw.n;
      const wrong = commitment(draw.seed) !== draw.commitment ||
        drawn && status.number && number(draw.seed, beacon.value, draw.n, draw.index) !== status.number;
      verdict = wrong ? box.dataset.wrong : drawn ? box.dataset.right : box.dataset.late;
    }
    box.querySelector('p').textContent = verdict;
  }

  window.ropelineDraw = {commitment: commitment, number: number, show: show};
})();
