// Loaded before each test file: one that hangs, or whose worker or socket stays open, ends as a red one. TEST_MINUTES
// is for those that are made long.

if (process.env['NODE_TEST_CONTEXT'] !== undefined) {
  const minutes = Number(process.env['TEST_MINUTES'] ?? 20);
  setTimeout(() => {
    console.error(
      `${process.argv[1]} has not ended after ${minutes} minutes: ${process.getActiveResourcesInfo().join(', ')}`,
    );
    process.exit(1);
  }, minutes * 60_000).unref();
}
