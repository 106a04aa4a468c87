import { appendFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

// Preloaded (--import) by a process whose modules a test wants to know: it appends their URLs to the file that
// RECORD_MODULES names.

registerHooks({
  load(url, context, next) {
    appendFileSync(process.env['RECORD_MODULES']!, `${url}\n`);
    return next(url, context);
  },
});
