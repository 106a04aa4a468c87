import { writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

// Preloaded (--import) by a process whose modules a test wants to know: it writes their URLs into the file that RECORD_MODULES names, when it ends.

const urls: string[] = [];
registerHooks({
  load(url, context, next) {
    urls.push(url);
    return next(url, context);
  },
});
process.on('exit', () => writeFileSync(process.env['RECORD_MODULES']!, JSON.stringify(urls)));
