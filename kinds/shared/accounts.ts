// Who owns a file: the fields `owner` and `group` that schemas share.
import type { Permission } from '../kind.ts';
import type { Files } from '../ports.ts';

interface Owners {
  readonly owner?: string | undefined;
  readonly group?: string | undefined;
}

export function accountPermissions({ owner, group }: Owners): Permission[] {
  return [owner, group].flatMap((value) => (value === undefined ? [] : [{ type: 'user', value }]));
}

/** As numbers, where they are named. @throws Stalled('UnknownAccount') */
export function accountIDs({ owner, group }: Owners, files: Files): { uid?: number; gid?: number } {
  return {
    ...(owner === undefined ? {} : { uid: files.userID(owner) }),
    ...(group === undefined ? {} : { gid: files.groupID(group) }),
  };
}
