import { Command } from 'commander';
import type { Check } from './doctor/check.ts';
import { Failed } from './faults.ts';
import { example, json } from './options.ts';
import { pad, paint, print, printJson, type Style } from './output.ts';

export const doctor = example(new Command('doctor'), 'DATABASE_URL=postgres://... rowmill doctor')
  .description('check all that Rowmill needs, and say how to fix what is wrong; exit code 1 if anything is')
  .addOption(json())
  .action(async (options: { json?: true }) => {
    const { examine } = await import('./doctor/examine.ts');
    const checks: Check[] = [];
    for await (const check of examine()) {
      checks.push(check);
      if (!options.json) show(check);
    }
    const failed = checks.some(({ state }) => state === 'fail');
    if (options.json) printJson({ ok: !failed, checks });
    if (failed) throw new Failed();
  });

const styles: Record<Check['state'], Style> = { ok: 'green', warn: 'yellow', fail: 'red' };

function show({ name, state, detail, fix }: Check): void {
  const indent = ' '.repeat(20);
  print(`${paint(styles[state], pad(state, 4))}  ${pad(name, 12)}  ${detail.replaceAll('\n', `\n${indent}`)}`);
  if (fix) print(`${indent}${paint('bold', 'fix:')} ${fix}`);
}
