/** Something whose changes are told at most once a frame, so that a fast stream of tokens costs one rendering, not hundreds. */
export class Observable {
  #listeners = new Set();
  #isScheduled = false;

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    nextFrame(() => {
      this.#isScheduled = false;
      for (const listener of [...this.#listeners]) listener();
    });
  }
}

// A hidden tab gets no animation frames; its state must not wait until it is looked at.
function nextFrame(callback) {
  if (document.hidden) setTimeout(callback, 50);
  else requestAnimationFrame(callback);
}

/** Lit controller: renders its host whenever one of the observables returned by `sources()` changes. */
export class Observes {
  #host;
  #sources;
  #subscriptions = new Map();

  constructor(host, sources) {
    this.#host = host;
    this.#sources = sources;
    host.addController(this);
  }

  hostConnected() {
    this.#follow();
  }

  hostUpdate() {
    this.#follow();
  }

  hostDisconnected() {
    for (const stop of this.#subscriptions.values()) stop();
    this.#subscriptions.clear();
  }

  #follow() {
    const wanted = new Set(this.#sources().filter(Boolean));
    for (const [source, stop] of this.#subscriptions) {
      if (wanted.has(source)) continue;
      stop();
      this.#subscriptions.delete(source);
    }
    for (const source of wanted) {
      if (this.#subscriptions.has(source)) continue;
      this.#subscriptions.set(source, source.subscribe(() => this.#host.requestUpdate()));
    }
  }
}
