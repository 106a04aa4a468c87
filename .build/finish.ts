import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

// The end of `npm run build`. tsc has made dist/ of worker/; what follows lets a bundler take the files apart from
// their folder: statements of SQL stand in the code that loads them, and types import files by the names that these
// have in dist/.

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
  const path = join(dist, file);
  if (file.endsWith('.js')) edit(path, (code) => withStatements(code, join(root, 'worker', dirname(file))));
  if (file.endsWith('.d.ts')) edit(path, (types) => types.replaceAll(/(["']\.\.?\/[^"'\n]+)\.ts(["'])/g, '$1.js$2'));
}

for (const dir of ['templates/box', 'http/dashboard/assets'])
  cpSync(join(root, 'worker', dir), join(dist, dir), { recursive: true });

function edit(path: string, change: (text: string) => string): void {
  const text = readFileSync(path, 'utf8');
  const changed = change(text);
  if (changed !== text) writeFileSync(path, changed);
}

/** @param dir the folder in worker/ that the code comes from */
function withStatements(code: string, dir: string): string {
  return code.replaceAll(/\b(load|read)Statements\(import\.meta\.dirname, '([^']+)'/g, (_, verb, file: string) => {
    const text = JSON.stringify(readFileSync(join(dir, file), 'utf8'));
    return `${verb}Statements({ text: ${text} }, '${file}'`;
  });
}
