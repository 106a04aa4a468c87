import type { z } from 'zod';

/**
 * Settings that belong together: one file of this folder. A new setting is a line of `settings`, and one in
 * `.env.example` that explains it.
 */
export type Group<S extends z.ZodRawShape, C extends object> = {
  /** The schema of each environment variable. */
  settings: S;
  /** Settings of which all must be set or none, and what they are for. */
  together?: Record<string, string[]>;
  /**
   * What is wrong with them as a whole, as `SETTING: what`.
   * @param given those that are set, as text
   * @param env their values, if each of them is right
   */
  faults?(given: Record<string, string>, env: z.output<z.ZodObject<S>> | undefined): string[];
  /** What the program makes of them. */
  read(env: z.output<z.ZodObject<S>>, around: Around): C;
};

/** What groups need to know beside their own settings: of the group process, and PATH. */
export type Around = { production: boolean; dataDir: string; searchPath: string };

/** Infers the types. */
export const group = <S extends z.ZodRawShape, C extends object>(settings: Group<S, C>): Group<S, C> => settings;
