// Whatever changes what a path gives wakes whoever watches it: the file, a directory above it, and every link on the
// way, wherever it leads. Each situation is armed, changed step by step, and must be seen as it is after each step.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { DirectoryWatches } from '../../../agent/providers/directory-watches.ts';
import { createFiles } from '../../../agent/providers/files.ts';
import { keyOf, wayTo } from '../../../agent/providers/path-steps.ts';
import { DirectoryWatcher, watchDirectory } from '../../../agent/providers/watch-directory.ts';
import { settle } from '../../support/clock.ts';
import { eventually } from '../../support/eventually.ts';
import { temporaryDirectory } from '../../support/sandbox.ts';

/** What a directory of its own has in it, by short commands. */
class Place {
  readonly directory: string;
  constructor(t: TestContext) {
    this.directory = fs.realpathSync(temporaryDirectory(t));
  }
  at(p: string): string {
    return p.startsWith('/') ? p : path.join(this.directory, p);
  }
  write(p: string, content: string): void {
    fs.mkdirSync(path.dirname(this.at(p)), { recursive: true });
    fs.writeFileSync(this.at(p), content);
  }
  /** A target that begins with ./ is made absolute. */
  link(p: string, target: string): void {
    fs.mkdirSync(path.dirname(this.at(p)), { recursive: true });
    fs.symlinkSync(target.startsWith('./') ? this.at(target.slice(2)) : target, this.at(p));
  }
  /** In one step, as `ln -sfn` and mv -T do. */
  relink(p: string, target: string): void {
    this.link(`${p}.new`, target);
    fs.renameSync(this.at(`${p}.new`), this.at(p));
  }
  move(from: string, to: string): void {
    fs.renameSync(this.at(from), this.at(to));
  }
  remove(p: string): void {
    fs.rmSync(this.at(p), { recursive: true });
  }
  mode(p: string, mode: number): void {
    fs.chmodSync(this.at(p), mode);
  }
}

interface Situation {
  readonly target: string;
  readonly arm: (p: Place) => void;
  readonly steps: readonly ((p: Place) => void)[];
}

/** With a link among the parents: of interest to a managed path and to a secret's. */
const BELOW_LINKS: Readonly<Record<string, Situation>> = {
  'a parent is a link': {
    target: 'var/run/f',
    arm: (p) => {
      p.write('run/f', 'one');
      p.link('var/run', './run');
    },
    steps: [
      (p) => p.write('run/f', 'two'),
      (p) => p.remove('run/f'),
      (p) => p.write('var/run/f', 'three'),
      (p) => p.mode('run/f', 0o640),
    ],
  },
  'a parent is a relative link that goes up': {
    target: 'a/link/f',
    arm: (p) => {
      p.write('b/c/f', 'one');
      p.link('a/link', '../b/./c');
    },
    steps: [(p) => p.write('b/c/f', 'two'), (p) => p.move('b', 'd'), (p) => p.move('d', 'b')],
  },
  'links lead to links, out and back in': {
    target: 'one/f',
    arm: (p) => {
      p.write('far/real/f', 'one');
      p.link('one', 'two');
      p.link('two', './far/back');
      p.link('far/back', '../three');
      p.link('three', 'far/real');
    },
    steps: [
      (p) => p.write('far/real/f', 'two'),
      (p) => {
        p.write('other/f', 'three');
        p.relink('three', 'other');
      },
      (p) => p.write('other/f', 'four'),
      (p) => p.relink('far/back', '../far/real'),
      (p) => p.write('far/real/f', 'five'),
    ],
  },
  'a parent that is a link is repointed, and what it led to is no longer of interest': {
    target: 'current/f',
    arm: (p) => {
      p.write('v1/f', 'one');
      p.write('v2/f', 'two');
      p.link('current', 'v1');
    },
    steps: [
      (p) => p.relink('current', 'v2'),
      (p) => {
        p.remove('v1');
        p.write('v2/f', 'three');
      },
      (p) => p.relink('current', 'v3'),
      (p) => p.write('v3/f', 'four'),
      (p) => p.write('v3/f', 'five'),
    ],
  },
  'a parent becomes a link, a directory, a file, nothing, and a link again': {
    target: 'a/f',
    arm: (p) => {
      p.write('a/f', 'one');
      p.write('b/f', 'two');
    },
    steps: [
      (p) => {
        p.move('a', 'c');
        p.link('a', 'b');
      },
      (p) => p.write('b/f', 'three'),
      (p) => {
        p.remove('a');
        p.move('c', 'a');
      },
      (p) => p.write('a/f', 'four'),
      (p) => {
        p.remove('a');
        p.write('a', 'a file');
      },
      (p) => {
        p.remove('a');
        p.link('a', 'b');
      },
      (p) => p.write('b/f', 'five'),
    ],
  },
  'a link loops, and is mended': {
    target: 'a/f',
    arm: (p) => {
      p.link('a', 'b');
      p.link('b', 'a');
      p.write('c/f', 'one');
    },
    steps: [(p) => p.relink('b', 'c'), (p) => p.write('c/f', 'two'), (p) => p.relink('b', 'b')],
  },
  'links lead nowhere yet': {
    target: 'a/b/f',
    arm: (p) => p.link('a', './not/there'),
    steps: [(p) => p.write('not/there/b/f', 'one'), (p) => p.write('not/there/b/f', 'two')],
  },
  'directories above are moved away and back, by no link': {
    target: 'a/b/c/f',
    arm: (p) => p.write('a/b/c/f', 'one'),
    steps: [
      (p) => p.move('a', 'elsewhere'),
      (p) => p.move('elsewhere', 'a'),
      (p) => p.write('a/b/c/f', 'two'),
      (p) => p.remove('a'),
      (p) => p.write('a/b/c/f', 'three'),
    ],
  },
  'a directory is replaced by another of the same name': {
    target: 'a/b/f',
    arm: (p) => p.write('a/b/f', 'one'),
    steps: [
      (p) => {
        p.remove('a/b');
        p.write('a/b/f', 'two');
      },
      (p) => p.write('a/b/f', 'three'),
      (p) => {
        p.write('new/b/f', 'four');
        p.move('a', 'old');
        p.move('new', 'a');
      },
      (p) => p.write('a/b/f', 'five'),
    ],
  },
};

/** With a link at the path itself: of interest to a secret's. */
const LINKED_SECRETS: Readonly<Record<string, Situation>> = {
  'a directory of secrets that is swapped as Kubernetes does': {
    target: 'k/token',
    arm: (p) => {
      p.write('k/..2026_01/token', 'one');
      p.link('k/..data', '..2026_01');
      p.link('k/token', '..data/token');
    },
    steps: [
      (p) => {
        p.write('k/..2026_02/token', 'two');
        p.relink('k/..data', '..2026_02');
        p.remove('k/..2026_01');
      },
      (p) => p.write('k/..data/token', 'three'),
      (p) => p.move('k/..data', 'k/..away'),
      (p) => p.move('k/..away', 'k/..data'),
      (p) => p.write('k/..2026_02/token', 'four'),
    ],
  },
  'live links to archived keys, as certbot has them': {
    target: 'live/example.net/privkey.pem',
    arm: (p) => {
      p.write('archive/privkey1.pem', 'one');
      p.link('live/example.net/privkey.pem', '../../archive/privkey1.pem');
    },
    steps: [
      (p) => {
        p.write('archive/privkey2.pem', 'two');
        p.relink('live/example.net/privkey.pem', './archive/privkey2.pem');
      },
      (p) => p.write('archive/privkey2.pem', 'three'),
      (p) => p.remove('archive'),
      (p) => p.write('archive/privkey2.pem', 'four'),
    ],
  },
  'a file becomes a link and a file again': {
    target: 'secret',
    arm: (p) => p.write('secret', 'one'),
    steps: [
      (p) => {
        p.write('far/away', 'two');
        p.relink('secret', 'far/away');
      },
      (p) => p.write('far/away', 'three'),
      (p) => {
        p.write('next', 'four');
        p.move('next', 'secret');
      },
      (p) => p.write('secret', 'five'),
    ],
  },
};

async function isSeen(t: TestContext, { target, arm, steps }: Situation, how: 'managed' | 'secret') {
  const place = new Place(t);
  const full = place.at(target);
  const files = createFiles();
  arm(place);
  const look = (): unknown => {
    if (how === 'managed') return files.read(full);
    try {
      return [fs.readFileSync(full, 'utf8'), fs.statSync(full).mode];
    } catch (error) {
      return (error as NodeJS.ErrnoException).code;
    }
  };
  const lookSafely = (): unknown => {
    try {
      return look();
    } catch (error) {
      return (error as Error).message;
    }
  };
  const stop = new AbortController();
  const seen: unknown[] = [];
  const wake = (): void => void seen.push(lookSafely());
  const watch = how === 'managed' ? files.watch : files.watchOutside!;
  const ended = watch(full, wake, stop.signal);
  t.after(async () => {
    stop.abort();
    await ended;
    await files.close();
  });
  await eventually(() => assert.deepEqual(seen.at(-1), lookSafely(), 'armed'));
  for (const step of steps) {
    const before = seen.at(-1);
    step(place);
    await eventually(() => assert.deepEqual(seen.at(-1), lookSafely(), `${step}`), 5_000);
    assert.notDeepEqual(seen.at(-1), before, `${step}`);
  }
}

for (const how of ['managed', 'secret'] as const) {
  const situations = how === 'managed' ? BELOW_LINKS : { ...BELOW_LINKS, ...LINKED_SECRETS };
  for (const [name, situation] of Object.entries(situations)) {
    test(`seen (${how}): ${name}`, (t) => isSeen(t, situation, how));
  }
}

test('a managed link is watched itself, and what it leads to is not', async (t) => {
  const place = new Place(t);
  place.write('log', 'one');
  place.link('link', 'log');
  const files = createFiles();
  const stop = new AbortController();
  const wakes = { link: 0, log: 0 };
  const ended = [
    files.watch(place.at('link'), () => wakes.link++, stop.signal),
    files.watch(place.at('log'), () => wakes.log++, stop.signal),
  ];
  await eventually(() => assert.deepEqual(wakes, { link: 1, log: 1 }));
  place.write('log', 'two');
  await eventually(() => assert.ok(wakes.log > 1));
  assert.equal(wakes.link, 1);
  place.relink('link', 'elsewhere');
  await eventually(() => assert.ok(wakes.link > 1));
  stop.abort();
  await Promise.all(ended);
  await files.close();
});

test('a change on the way that changes nothing of the file wakes all the same', async (t) => {
  const place = new Place(t);
  place.write('v1/f', 'the same');
  fs.cpSync(place.at('v1'), place.at('v2'), { recursive: true, preserveTimestamps: true });
  place.link('current', 'v1');
  const files = createFiles();
  const stop = new AbortController();
  let wakes = 0;
  const ended = files.watch(place.at('current/f'), () => wakes++, stop.signal);
  await eventually(() => assert.equal(wakes, 1));
  for (const change of [
    () => place.mode('v1', 0o750),
    () => place.relink('current', 'v2'),
    () => place.mode('v2', 0o750),
    () => place.relink('current', './v2'),
  ]) {
    await settle();
    const before = wakes;
    change();
    await eventually(() => assert.ok(wakes > before, String(change)));
  }
  stop.abort();
  await ended;
  await files.close();
});

test('what is beside the way wakes nobody, and what nobody watches any more is let go', async (t) => {
  const place = new Place(t);
  place.write('real/f', 'one');
  place.link('link', 'real');
  const watches = new DirectoryWatches();
  const stops = [new AbortController(), new AbortController()];
  let wakes = 0;
  let beside = 0;
  const ended = [
    watches.watch(place.at('link/f'), () => wakes++, stops[0]!.signal),
    watches.watch(place.at('real/g'), () => beside++, stops[1]!.signal),
  ];
  await eventually(() => assert.deepEqual([wakes, beside], [1, 1]));
  const watched = watches.size;
  place.write('other', 'x');
  place.write('real/g', 'x');
  await eventually(() => assert.ok(beside > 1));
  assert.equal(wakes, 1);
  stops[0]!.abort();
  await ended[0];
  assert.equal(watches.size, watched, 'the same directories lead to both');
  stops[1]!.abort();
  await ended[1];
  assert.equal(watches.size, 0);
});

test('a thousand files of one directory cost one watch for each directory on the way, and one instance', async (t) => {
  const place = new Place(t);
  place.write('real/x', '');
  place.link('link', 'real');
  const watches = new DirectoryWatches();
  const stop = new AbortController();
  const woken = new Set<number>();
  const ended = Array.from({ length: 1000 }, (_, i) =>
    watches.watch(place.at(`link/f${i}`), () => woken.add(i), stop.signal),
  );
  await eventually(() => assert.equal(woken.size, 1000));
  const directories = new Set(wayTo(place.at('link/f1'), false).steps.map(({ directory }) => directory));
  assert.equal(watches.size, directories.size);
  if (process.platform === 'linux') {
    const instances = fs.readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return fs.readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:inotify';
      } catch {
        return false; // the descriptor of the listing itself
      }
    });
    assert.equal(instances.length, 1);
  }
  stop.abort();
  await Promise.all(ended);
  assert.equal(watches.size, 0);
});

test('a directory that the agent may search and not read does not end a watch below it', async (t) => {
  const place = new Place(t);
  place.write('closed/f', 'one');
  place.write('closed/open/f', 'one');
  const watches = new DirectoryWatches({
    open(directory) {
      if (directory !== place.at('closed')) return watchDirectory(directory);
      const watcher = new DirectoryWatcher();
      const error = Object.assign(new Error(`permission denied, watch '${directory}'`), { code: 'EACCES' });
      setImmediate(() => watcher.emit('error', error));
      return watcher;
    },
  });
  const stop = new AbortController();
  let wakes = 0;
  const ended = watches.watch(place.at('closed/open/f'), () => wakes++, stop.signal);
  await eventually(() => assert.equal(wakes, 1));
  await assert.rejects(
    watches.watch(place.at('closed/f'), () => undefined, stop.signal),
    /permission denied/,
  );
  assert.deepEqual(watches.polled, [], 'there is a watch left, it may not be had');
  place.write('closed/open/f', 'two');
  await eventually(() => assert.ok(wakes > 1));
  stop.abort();
  await ended;
  assert.equal(watches.size, 0);
});

test('the steps to a path', (t) => {
  const place = new Place(t);
  const steps = (target: string, follow: boolean): string[] =>
    wayTo(place.at(target), follow)
      .steps.map(({ directory, name }) => path.join(directory, name))
      .filter((entry) => entry.startsWith(`${place.directory}/`))
      .map((entry) => entry.slice(place.directory.length + 1));
  place.write('a/b/f', '');
  place.link('a/link', '../a/b/');
  place.link('loop', 'loop');
  place.link('last', 'a/link/f');
  place.link('d', 'a');
  assert.deepEqual(steps('a/b/f', false), ['a', 'a/b', 'a/b/f']);
  assert.deepEqual(steps('a/b/../b/f', false), ['a', 'a/b', 'a/b/f']);
  assert.deepEqual(steps('a/link/f', false), ['a/link', 'a', 'a/b', 'a/b/f']);
  assert.deepEqual(steps('last', false), ['last']);
  assert.deepEqual(steps('last', true), ['last', 'a/link', 'a', 'a/b', 'a/b/f']);
  assert.deepEqual(steps('a/b/f/below', false), ['a', 'a/b', 'a/b/f']);
  assert.deepEqual(steps('none/f', false), ['none']);
  assert.deepEqual(steps('loop/f', true), ['loop']);
  const endsAtPath = ['a/b/f', 'a/b/none', 'last', 'a/none/f', 'a/b/f/below', 'loop/f', 'd/../d'].filter(
    (target) => wayTo(`${place.directory}/${target}`, false).endsAtPath,
  );
  assert.deepEqual(endsAtPath, ['a/b/f', 'a/b/none', 'last']);
  assert.equal(wayTo(place.at('a/b/f'), true).endsAtPath, false);
  const before = keyOf(wayTo(place.at('a/b/f'), false).steps);
  place.write('a/b/g', '');
  assert.equal(keyOf(wayTo(place.at('a/b/f'), false).steps), before);
  place.mode('a/b', 0o700);
  assert.notEqual(keyOf(wayTo(place.at('a/b/f'), false).steps), before);
});
