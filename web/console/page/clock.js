// beat calls f now and then a while after each time it has ended, until the
// signal; not while nobody sees the page, and at once when somebody does again.
export const beat = (every, f, signal) => {
  let timer = 0;
  let running = false;
  const run = async () => {
    clearTimeout(timer);
    if (signal.aborted || running || document.hidden) return;
    running = true;
    const began = performance.now();
    try {
      await f();
    } finally {
      running = false;
    }
    if (!signal.aborted) timer = setTimeout(run, Math.max(every / 4, every - (performance.now() - began)));
  };
  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return run();
};
