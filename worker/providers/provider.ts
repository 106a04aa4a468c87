import type { Service } from '../base/http/fetch.ts';

/**
 * Another service that handlers ask, beside the verbs that they ask it with. A new one is a file of this folder, its
 * settings in base/config/, and a line in app.ts; the doctor and the checks of incidents follow from these.
 */
export type Provider = {
  service: Service;
  /** Its address; undefined if it is not configured. */
  address: string | undefined;
  /**
   * Asks it for something harmless, which shows whether it lets us in.
   * @returns what is strange about its answer
   * @throws what is wrong, with its code
   */
  check(options: { signal: AbortSignal }): Promise<string | void>;
};
