import { readFileSync, writeFileSync } from 'node:fs';
import { migrationsDir } from '../../worker/queue/install/install.ts';
import { allMigrations, releasedFile, type Released } from './released.ts';

// npm run released: adds the migrations that are new to migrations/released.json. A file that is in the list is not
// listed anew.

const released: Released = JSON.parse(readFileSync(releasedFile, 'utf8'));
for (const { name, checksum } of allMigrations(migrationsDir)) released[name] ??= checksum;
writeFileSync(releasedFile, `${JSON.stringify(released, null, 2)}\n`);
