// Programs that a manifest chooses: what they need of the host's owner, who grants them by where they really are.
import path from 'node:path';
import type { Permission } from '../kind.ts';
import type { Files, Processes } from '../ports.ts';

/** systemd.exec(5) looks there for a program that is named without its directory. */
const SEARCHED = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** They run what their arguments say, so that a grant of one is a grant of everything that its user may do. */
const INTERPRETERS =
  /^(?:(?:ba|da|z|k|c|tc|fi)?sh|rbash|busybox|toybox|env|python[\d.]*|perl[\d.]*|ruby[\d.]*|node|nodejs|lua[\d.]*|php[\d.]*|[gm]?awk|sed|find|xargs|nsenter|unshare|chroot|systemd-run|docker|podman|nerdctl|su|sudo|runuser|setpriv|nice|timeout|ssh|tclsh[\d.]*|expect|java|make|git|ld[-.].*|socat)$/;

/** Of a program that the agent runs itself; none where it is not there, and judged anew when it is run. */
export function runPermissions(processes: Processes, program: string, why: string): Permission[] {
  const value = processes.locate?.(program);
  return value === undefined ? [] : [permission(value, program, why)];
}

/** Of a program that a unit runs. @param why as in: alloy.service runs it */
export function execPermission(files: Files, program: string, why: string): Permission {
  return permission(realProgram(files, program), program, why);
}

function permission(value: string, program: string, why: string): Permission {
  const isAny = INTERPRETERS.test(path.basename(value)) || INTERPRETERS.test(path.basename(program));
  const any = '; it runs whatever its arguments say, so that this is as good as root';
  return { type: 'exec', value, why: isAny ? `${why}${any}` : why };
}

/** Where links lead from where systemd finds it; its name where there is none. */
function realProgram(files: Files, program: string): string {
  if (program.startsWith('/')) return files.realPath(program, true);
  if (program.includes('/')) return program;
  const found = SEARCHED.map((directory) => path.join(directory, program)).find((at) => files.exists(at));
  return found === undefined ? program : files.realPath(found, true);
}
