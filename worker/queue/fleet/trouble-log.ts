import type { Log } from '../../base/log.ts';

/** Logs what /health reports, once it has lasted from one check to the next. */
export class TroubleLog {
  readonly #log: Log;
  #before: string | undefined;
  #logged: string | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** To be called every few seconds, with why this worker does not work. */
  check(reason: string | undefined): void {
    if (reason && reason === this.#before && reason !== this.#logged) {
      this.#log.warn({ reason }, 'this worker is unhealthy');
      this.#logged = reason;
    } else if (!reason && this.#logged) {
      this.#log.info({ reason: this.#logged }, 'this worker is healthy again');
      this.#logged = undefined;
    }
    this.#before = reason;
  }
}
