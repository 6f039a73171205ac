// Ways for what a File may write to become a part of a compose project.
import { resource } from '../../support/manifest.ts';
import { IMAGE } from './containers.ts';
import { LOOKS, project, TWIN, twin, USERS } from './projects.ts';
import type { Stage } from './stage.ts';
import type { Way } from './ways.ts';

/** What a File may write and compose then reads. */
const written = (
  name: string,
  files: (s: Stage) => Record<string, string>,
  before?: (s: Stage) => unknown,
): Way => ({
  name,
  twin: TWIN,
  escape: (s) => {
    const texts = Object.entries(files(s));
    return twin(
      s,
      {
        ...(before === undefined ? {} : { before: () => before(s) }),
        resources: [
          ...texts.map(([file, content], i) => resource('File', `f${i}`, { path: s.at(file), content })),
          {
            // A label of ours on what they wrote has it made anew.
            ...project(s, {}, { extend: { evil: { labels: { a: 'b' } } } }),
            dependsOn: texts.map((_, i) => ({ ref: `File/f${i}`, until: 'Applied' as const })),
          },
        ],
      },
      { paths: texts.map(([file]) => s.at(file)) },
    );
  },
});

const evilService = (s: Stage): string =>
  `services:\n  evil:\n    image: ${IMAGE}\n    network_mode: none\n    stop_grace_period: 0s\n    command: [sh, -c, '${LOOKS}']\n    volumes: ['${s.vault}:/in:ro', '${s.proof}:/proof']\n`;

export const projectFileWays: readonly Way[] = [
  written('a compose file by a File', (s) => ({
    'compose.yaml': `${USERS}${evilService(s).replace('services:\n', '')}`,
  })),
  written(
    'a file that theirs includes, by a File',
    (s) => ({ 'more.yaml': evilService(s) }),
    (s) => s.write(s.at('compose.yaml'), `include: [more.yaml]\n${USERS}`),
  ),
  written(
    'a file that theirs extends, by a File',
    (s) => ({ 'more.yaml': evilService(s) }),
    (s) =>
      s.write(s.at('compose.yaml'), `${USERS}  evil:\n    extends: { file: more.yaml, service: evil }\n`),
  ),
  written('another list of files in .env, by a File', (s) => ({
    'other.yaml': `${USERS}${evilService(s).replace('services:\n', '')}`,
    '.env': 'COMPOSE_FILE=other.yaml\n',
  })),
  written(
    'another program’s env_file that leads out',
    (s) => ({
      'more.yaml': `services:\n  evil:\n    image: ${IMAGE}\n    network_mode: none\n    env_file: ${s.vault}/env\n    command: [sh, -c, '${LOOKS}']\n    volumes: ['${s.proof}:/proof']\n`,
    }),
    (s) => s.write(s.at('compose.yaml'), `include: [more.yaml]\n${USERS}`),
  ),
];
