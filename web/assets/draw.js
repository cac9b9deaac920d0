// Checks a draw on the visitor's own device, with nothing but what the page was
// told: that the seed is of the commitment, and that the number is of the index.
// WebCrypto is there only over HTTPS, so SHA-256 is here (FIPS 180-4).
(function () {
  'use strict';
  // The first 32 bits of the fractional parts of the cube and square roots of
  // the first primes.
  const K = [], H = [];
  for (let n = 2; K.length < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) prime = prime && n % d > 0;
    if (!prime) continue;
    const part = function (x) { return (x - Math.floor(x)) * 4294967296 | 0; };
    if (H.length < 8) H.push(part(Math.sqrt(n)));
    K.push(part(Math.cbrt(n)));
  }

  function sha256(bytes) {
    const size = bytes.length, padded = new Uint8Array((size + 72) & ~63), words = new DataView(padded.buffer);
    padded.set(bytes);
    padded[size] = 128;
    words.setUint32(padded.length - 8, Math.floor(size / 536870912));
    words.setUint32(padded.length - 4, size << 3);
    const hash = H.slice(), w = [];
    const turn = function (x, n) { return x >>> n | x << (32 - n); };
    for (let at = 0; at < padded.length; at += 64) {
      for (let i = 0; i < 64; i++) {
        const x = w[i - 15], y = w[i - 2];
        w[i] = i < 16 ? words.getInt32(at + 4 * i) :
          w[i - 16] + (turn(x, 7) ^ turn(x, 18) ^ x >>> 3) + w[i - 7] + (turn(y, 17) ^ turn(y, 19) ^ y >>> 10) | 0;
      }
      let [a, b, c, d, e, f, g, h] = hash;
      for (let i = 0; i < 64; i++) {
        const one = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + K[i] + w[i] | 0;
        const two = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
        h = g; g = f; f = e; e = d + one | 0; d = c; c = b; b = a; a = one + two | 0;
      }
      [a, b, c, d, e, f, g, h].forEach(function (x, i) { hash[i] = hash[i] + x | 0; });
    }
    const sum = new DataView(new ArrayBuffer(32));
    hash.forEach(function (x, i) { sum.setInt32(4 * i, x); });
    return new Uint8Array(sum.buffer);
  }

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
