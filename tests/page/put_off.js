// Runs before the page's own script. Counts what the page has put off to a later moment, so that
// window.putOff.rest() can wait for it. With a delay of d ms, every frame, short timer and delivery
// of an observer comes d ms later, as on a slow machine.
(delay) => {
  const SHORT = 250; // ms; the page's longer timers change nothing that is drawn
  const MOST = 60000; // ms that rest() waits
  const { requestAnimationFrame: frame, cancelAnimationFrame: cancel } = window;
  const { setTimeout: timer, clearTimeout: clear } = window;
  const Sight = window.IntersectionObserver;
  const waiting = new Set(); // frames and timers, by name
  let ran = 0; // what was put off and has run, and scrolls

  /** Runs what waits under a name, unless it was taken back; later where there is a delay. */
  const due = (name, act) => {
    const run = () => {
      if (!waiting.delete(name)) return;
      ran++;
      act();
    };
    if (delay) timer(run, delay);
    else run();
  };

  window.requestAnimationFrame = (act) => {
    const number = frame((time) => due(`frame ${number}`, () => act(time)));
    waiting.add(`frame ${number}`);
    return number;
  };
  window.cancelAnimationFrame = (number) => {
    waiting.delete(`frame ${number}`);
    cancel(number);
  };
  window.setTimeout = (act, ms = 0, ...given) => {
    if (ms >= SHORT) return timer(act, ms, ...given);
    const number = timer(() => due(`timer ${number}`, () => act(...given)), ms);
    waiting.add(`timer ${number}`);
    return number;
  };
  window.clearTimeout = (number) => {
    waiting.delete(`timer ${number}`);
    clear(number);
  };
  let deliveries = 0;
  for (const kind of ["IntersectionObserver", "ResizeObserver"])
    window[kind] = class extends window[kind] {
      constructor(act, options) {
        super((entries, observer) => {
          const name = `delivery ${deliveries++}`;
          waiting.add(name);
          this.deliveries.add(name);
          due(name, () => act.call(observer, entries, observer));
        }, options);
        this.deliveries = new Set();
      }
      disconnect() {
        super.disconnect();
        this.deliveries.forEach((name) => waiting.delete(name));
      }
    };

  addEventListener("scroll", () => ran++, { capture: true, passive: true });

  /** Waits for a frame, and for what its layout delivers to observers. */
  const round = () =>
    new Promise((done) => {
      const probe = new Sight(() => {
        probe.disconnect();
        const { port1, port2 } = new MessageChannel();
        port1.onmessage = done;
        port2.postMessage(null);
      });
      probe.observe(document.documentElement);
      frame(() => {});
    });

  /** Waits until a whole frame has passed in which nothing that was put off ran or waits. */
  const rest = async () => {
    const end = performance.now() + MOST;
    let before;
    do {
      before = ran;
      await round();
      if (performance.now() > end)
        throw new Error(`the page does not come to rest; it waits for ${[...waiting].join(", ")}`);
    } while (ran !== before || waiting.size);
  };
  window.putOff = { rest, frame: (act) => frame(act) };
}
