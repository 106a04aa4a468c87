/** Numbers as people read them. What is unknown is a dash, and never 0. */

export const whole = (value: number | null): string => (value === null ? '–' : value.toLocaleString('en'));

export const percent = (share: number | null, digits = 0): string =>
  share === null ? '–' : `${(share * 100).toFixed(digits)} %`;

export const changeOf = (now: number | null, before: number | null): string =>
  now === null || !before ? '–' : `${now >= before ? '+' : '−'}${percent(Math.abs(now / before - 1))}`;

const names = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
/** @param isoDay 1 is Monday */
export const dayName = (isoDay: number): string => names[isoDay - 1]!;
