// The controller's state directory, as commands use it beside a running controller or before its first start.
import { chownSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Database } from '../controller/store/database.ts';
import { Store } from '../controller/store/store.ts';
import { Tokens } from '../controller/store/tokens.ts';
import { KEY_FILE, STORE_FILE } from './controller.ts';

export interface OpenState {
  readonly keyFile: string;
  readonly store: Store;
  readonly tokens: Tokens;
}

/** `create` makes a state where there is none; `read` changes nothing at all. */
export type StateUse = 'create' | 'change' | 'read';

/** @throws Error in words: there is no state, or it can't be used. */
export function withState<T>(state: string, use: StateUse, work: (open: OpenState) => T): T {
  const file = join(state, STORE_FILE);
  const isNew = use === 'create' && !existsSync(file);
  const database = new Database(file);
  try {
    database.open({ create: use === 'create', readOnly: use === 'read' });
    if (isNew) console.error(`made a new controller state in ${state}`);
    return work({
      keyFile: join(state, KEY_FILE),
      store: new Store(database),
      tokens: new Tokens(database),
    });
  } finally {
    if (use !== 'read') giveToOwner(state);
    database.close();
  }
}

/** Whether there is a store; for what may be done without one. */
export function hasStore(state: string): boolean {
  return existsSync(join(state, STORE_FILE));
}

/** What root makes here has to be the controller's: it runs as the owner of the directory. */
function giveToOwner(state: string): void {
  if (process.getuid?.() !== 0 || !existsSync(state)) return;
  const { uid, gid } = statSync(state);
  if (uid === 0) return;
  for (const name of [KEY_FILE, STORE_FILE, `${STORE_FILE}-wal`, `${STORE_FILE}-shm`]) {
    const file = join(state, name);
    if (existsSync(file)) chownSync(file, uid, gid);
  }
}
