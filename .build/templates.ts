import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mjml2html from 'mjml';

// npm run templates: makes the HTML of each template in worker/templates/box/ of its MJML.

// MJML would load Roboto from Google, which would learn who opens an email.
const options = { validationLevel: 'strict', keepComments: false, fonts: {} } as const;

const box = join(import.meta.dirname, '../worker/templates/box');

/** @returns the HTML by the path of its file */
export async function compileTemplates(): Promise<Map<string, string>> {
  const made = new Map<string, string>();
  for (const name of globSync('*.mjml', { cwd: box }).toSorted()) {
    if (name === 'head.mjml') continue;
    const path = join(box, name);
    const source = readFileSync(path, 'utf8').replace(/<mj-include path="\.\/head\.mjml" \/>/, () =>
      readFileSync(join(box, 'head.mjml'), 'utf8'),
    );
    const { html, errors } = await mjml2html(source, options);
    if (errors.length > 0) throw new Error(`${name}: ${errors.map(({ formattedMessage }) => formattedMessage).join()}`);
    made.set(path.replace(/mjml$/, 'html'), `${html.trim()}\n`);
  }
  return made;
}

if (import.meta.main) for (const [path, html] of await compileTemplates()) writeFileSync(path, html);
