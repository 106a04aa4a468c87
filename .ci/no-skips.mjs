// A reporter of node:test that names what was skipped, and why, and makes the run fail for it: on the machine of
// .ci/run nothing is.
export default async function* noSkips(events) {
  const skipped = [];
  for await (const { type, data } of events)
    if (type.startsWith('test:') && data.skip !== undefined && /^test:(pass|fail)$/.test(type))
      skipped.push(`skipped: ${data.file}: ${data.name}: ${data.skip}\n`);
  yield* skipped;
  if (skipped.length > 0) process.exitCode = 1;
}
