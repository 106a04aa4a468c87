import { Command } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import { UsageError } from '../base/errors.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, jobsDir, json } from './options.ts';
import { count, note, print, printJson } from './output.ts';

const tellEveryMs = 1_000;

export const reseal = example(new Command('reseal'), 'SEAL_KEYS=new:...,old:... rowmill reseal')
  .description(
    'seal with the first of SEAL_KEYS what another key has sealed, and what is in the clear; it can be repeated',
  )
  .addOption(jobsDir())
  .addOption(json())
  .action(async (options: { jobs?: string; json?: true }) => {
    const { jobsDir: ownDir, keyring } = loadConfig();
    if (!keyring) throw new UsageError('SEAL_KEYS: must be set, the new key first and the old one behind it');
    const { loadRegistry } = await import('../queue/registry.ts');
    const { reseal: run, countSeals } = await import('../queue/fleet/reseal.ts');
    const registry = await loadRegistry(options.jobs ?? ownDir);
    await withDatabase(async (db) => {
      let told = performance.now();
      const progress = await run(db, registry, keyring, ({ leaf, rows }) => {
        if (performance.now() - told < tellEveryMs) return;
        told = performance.now();
        note(`${leaf}: ${count(rows, 'row')}`);
      });
      const resealed = progress.reduce((sum, { rows }) => sum + rows, 0);
      const unopened: Record<string, number> = {};
      for (const each of progress)
        for (const [code, values] of Object.entries(each.unopened)) unopened[code] = (unopened[code] ?? 0) + values;
      const { kids, clear } = await countSeals(db, registry);
      const { [keyring.active]: active = 0, ...left } = kids;

      if (options.json) printJson({ resealed, active: { key: keyring.active, rows: active }, left, clear, unopened });
      else {
        for (const { leaf, rows } of progress) if (rows > 0) print(`${leaf}: resealed ${count(rows, 'row')}`);
        print(`resealed ${count(resealed, 'row')}; ${count(active, 'row')} under ${keyring.active} now`);
      }
      const faults = [
        ...Object.entries(left).map(([kid, rows]) => `${count(rows, 'row')} still under ${kid}`),
        ...(clear > 0 ? [`${count(clear, 'row')} still in the clear`] : []),
        ...Object.entries(unopened).map(([code, values]) => `${count(values, 'value')} did not open: ${code}`),
      ];
      if (faults.length > 0) throw new Failed(`${faults.join('; ')}. Run it again for rows that were locked or new`);
    });
  });
