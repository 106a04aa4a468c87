export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

const oneMomentMs = 2_000;

/**
 * Calls `first` at the first signal that asks this process to end, and `again` at a second request. Below npm, one
 * Ctrl-C arrives twice: the terminal signals the whole process group, and npm forwards its own signal to its child.
 * Supervisors that signal every process do the same. So a signal within two seconds of the first is not a second
 * request.
 * @returns removes the handlers
 */
export function onStop(
  names: StopSignal[],
  { first, again, momentMs = oneMomentMs }: { first(name: StopSignal): void; again(): void; momentMs?: number },
): () => void {
  let since: number | undefined;
  const handle = (name: NodeJS.Signals) => {
    if (since === undefined) {
      since = performance.now();
      first(name as StopSignal);
    } else if (performance.now() - since > momentMs) again();
  };
  for (const name of names) process.on(name, handle);
  return () => names.forEach((name) => process.off(name, handle));
}

/**
 * Calls `gone` when npm's shell, our parent, has ended. Below npx, and in a package's script without `exec`, a shell
 * stands between npm and us. It dies of the SIGTERM that npm forwards, and does not forward it (dash 0.5.12, npm 11).
 */
export function onParentGone(gone: () => void, everyMs = 1_000): void {
  const parent = process.ppid;
  // A process that a script starts in the background with `&` is meant to outlive its shell.
  if (!/\browmill\b[^&]*$/.test(process.env['npm_lifecycle_script'] ?? '')) return;
  const checking = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(checking);
    gone();
  }, everyMs).unref();
}
