import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createDatabase } from './database.ts';
import { globalSetup, globalTeardown } from './global-setup.ts';
import { describeSchema } from './schema.ts';

// npm run schema: writes sql/schema.sql anew from what the migrations make.

await globalSetup();
try {
  const db = await createDatabase();
  await writeFile(join(import.meta.dirname, '../../sql/schema.sql'), await describeSchema(db));
  await db.drop();
} finally {
  await globalTeardown();
}
