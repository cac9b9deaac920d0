// SHA-256 (FIPS 180-4). WebCrypto is there only over HTTPS, and has one wait for
// each hash.
(function () {
  'use strict';
  // The first 32 bits of the fractional parts of the cube and square roots of
  // the first primes.
  const K = new Int32Array(64), H = new Int32Array(8);
  for (let n = 2, i = 0; i < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) prime = prime && n % d > 0;
    if (!prime) continue;
    const part = function (x) { return (x - Math.floor(x)) * 4294967296 | 0; };
    if (i < 8) H[i] = part(Math.sqrt(n));
    K[i++] = part(Math.cbrt(n));
  }

  // block takes a block, which is the first 16 of the 64 words w, into a hash of
  // 8 words. It leaves those 16 as they are, and makes no garbage: who looks for
  // a hash calls it a million times.
  function block(hash, w) {
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      w[i] = w[i - 16] + ((x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3) +
        w[i - 7] + ((y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10) | 0;
    }
    let a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4], f = hash[5], g = hash[6], h = hash[7];
    for (let i = 0; i < 64; i++) {
      const one = h + ((e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7)) + (e & f ^ ~e & g) + K[i] + w[i] | 0;
      const two = ((a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10)) + (a & b ^ a & c ^ b & c) | 0;
      h = g; g = f; f = e; e = d + one | 0; d = c; c = b; b = a; a = one + two | 0;
    }
    hash[0] += a; hash[1] += b; hash[2] += c; hash[3] += d; hash[4] += e; hash[5] += f; hash[6] += g; hash[7] += h;
  }

  function sha256(bytes) {
    const size = bytes.length, padded = new Uint8Array((size + 72) & ~63), words = new DataView(padded.buffer);
    padded.set(bytes);
    padded[size] = 128;
    words.setUint32(padded.length - 8, Math.floor(size / 536870912));
    words.setUint32(padded.length - 4, size << 3);
    const hash = H.slice(), w = new Int32Array(64);
    for (let at = 0; at < padded.length; at += 64) {
      for (let i = 0; i < 16; i++) w[i] = words.getInt32(at + 4 * i);
      block(hash, w);
    }
    const sum = new DataView(new ArrayBuffer(32));
    hash.forEach(function (x, i) { sum.setInt32(4 * i, x); });
    return new Uint8Array(sum.buffer);
  }

  window.ropelineHash = {sha256: sha256, block: block, start: H};
})();
