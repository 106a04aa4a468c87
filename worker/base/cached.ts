/**
 * Asks `work` at most once per `ms`: who asks meanwhile, or while it is asked, shares the answer.
 */
export function cached<T>(ms: number, work: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  let until = 0;
  return () => {
    if (answer && performance.now() < until) return answer;
    until = Infinity;
    answer = work().finally(() => (until = performance.now() + ms));
    answer.catch(() => {});
    return answer;
  };
}
