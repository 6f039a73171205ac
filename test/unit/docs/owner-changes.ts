// What each kind does when the host's owner changes something by hand: the rows of docs/owner-changes.md, each with the
// test that shows it. owner-changes.test.ts, beside this, finds those tests; what none shows is not said here.

/** healed: put back. reported: not touched, and the status says so. left alone: not touched, and no fault. */
type Outcome = 'healed' | 'reported' | 'left alone';

/** A test by its title as the source has it, and a text that stands in it; or a way in a kind's contract fixture. */
type Proof =
  | { readonly file: string; readonly test: string; readonly step?: string }
  | { readonly breakage: string }
  | { readonly unwell: string };

export interface Row {
  readonly byHand: string;
  readonly outcome: Outcome;
  /** The reason or condition that the status has. */
  readonly reason?: string;
  readonly note?: string;
  readonly proof: Proof;
}

const proves = (file: string) => (test: string, step?: string) => ({
  proof: { file: `test/${file}`, test, ...(step === undefined ? {} : { step }) },
});
const breakage = (name: string) => ({ outcome: 'healed', proof: { breakage: name } }) as const;
const unwell = (name: string, reason: string) =>
  ({ outcome: 'reported', reason, proof: { unwell: name } }) as const;

const healed = { outcome: 'healed' } as const;
const left = { outcome: 'left alone' } as const;
const reported = (reason: string) => ({ outcome: 'reported', reason }) as const;

const file = proves('unit/kinds/file.test.ts');
const reconcile = proves('unit/agent/reconcile.test.ts');
const service = proves('unit/kinds/service.test.ts');
const systemd = proves('integration/inside/service.ts');
const runs = proves('integration/inside/service-runs.ts');
const cases = proves('integration/inside/cases.ts');
const apt = proves('integration/inside/apt-healed.ts');
const refused = proves('integration/inside/apt-refused.ts');
const alloy = proves('unit/kinds/alloy-config.test.ts');
const directory = proves('unit/kinds/alloy-config-directory.test.ts');
const container = proves('integration/container.test.ts');
const data = proves('integration/container-data.test.ts');
const network = proves('integration/container-network.test.ts');
const compose = proves('integration/compose.test.ts');
const owner = proves('integration/compose-owner.test.ts');
const grafana = proves('integration/grafana.test.ts');
const prometheus = proves('integration/prometheus.test.ts');
const jobs = proves('unit/kinds/prometheus-config.test.ts');
const loaded = proves('unit/kinds/prometheus-health.test.ts');
const policy = proves('unit/kinds/tailnet-policy.test.ts');
const tailscale = proves('integration/inside/tailscale.ts');
const client = proves('unit/kinds/tailscale-client.test.ts');

const FILE = 'a file is created with its parents, and comes back however it is broken';
const UNIT = `whatever happens to a unit \${ours ? 'of ours' : 'of a package'}, it is mended`;
const PACKAGE = 'whatever happens to a repository and its package, it is mended';
const VERSION =
  'a version that somebody installed stays where the document takes it, and is reported where it is too new';
const CONTAINER = 'it comes up from nothing, every tampering is healed, and removal leaves nothing';
const COMPOSE = 'what others do to our part is healed as it happens';
const OTHER_COMMAND_LINE =
  'a project that was started under another name, or from other files, is told and left alone';
const DASHBOARD = `\${generation}: a dashboard is made in its folder, and every breakage is mended at the next look`;
const DATASOURCE = `\${generation}: a data source is made, mended, and the default goes back to whose it was`;

/** What holds for all of them. */
export const EVERY_KIND: readonly Row[] = [
  {
    byHand: 'anything, where the document says `drift: warn` or its host is in mode observe',
    ...reported('Drifted'),
    ...file('drift: warn and mode observe report and touch nothing'),
  },
  {
    byHand: '`homeostat suspend`, and then anything',
    ...reported('Suspended'),
    note: 'healed at `homeostat resume`, or when the time is over',
    ...reconcile('suspend holds a resource still, for its time; resume heals it'),
  },
  {
    byHand: 'the same thing again and again, as another program that keeps it',
    ...healed,
    reason: 'Contended',
    note: 'more and more slowly',
    ...reconcile('the same claim drifting again and again is healed, then slowed down, and says so'),
  },
];

/** By kind. */
export const OWNER_CHANGES: Readonly<Record<string, readonly Row[]>> = {
  File: [
    { byHand: 'edit the content, or empty the file', ...healed, ...file(FILE, 'write:') },
    { byHand: '`chmod`', ...healed, ...file(FILE, 'chmod:') },
    { byHand: 'delete it, or put another file in its place', ...healed, ...file(FILE, 'delete:') },
    { byHand: 'put a link in its place', ...healed, ...file(FILE, 'symlink:') },
    { byHand: 'remove or move its directory', ...healed, ...file(FILE, "'parent removed'") },
    {
      byHand: '`chown`, where the document names the owner',
      ...healed,
      ...file('an owner that the document names is put back, and what it does not name stays', 'chownSync'),
    },
    {
      byHand: '`chown`, where it names none; `touch`; an extended attribute (`setfattr`)',
      ...left,
      note: 'an edit of the content is put back by another file, which has no extended attributes',
      ...file('an owner that the document names is put back, and what it does not name stays', 'setxattr'),
    },
    {
      byHand: 'an access control list (`setfacl`)',
      ...healed,
      note: 'it stays, and gives no more than the mode does: the mode is its mask',
      ...file('an access control list gives no more than the mode that the document names'),
    },
    {
      byHand: 'make a directory in its place',
      ...reported('IsADirectory'),
      ...file('a directory in the way is never replaced: stalled, with what to do'),
    },
    {
      byHand: 'put files into a directory that a document keeps',
      ...left,
      ...file('directories and links are kept, and a directory that others use is not removed', 'theirs'),
    },
  ],
  Service: [
    { byHand: '`systemctl stop`', ...healed, ...systemd(UNIT, "systemctl('stop', unit)") },
    {
      byHand: '`systemctl disable`, or its link removed',
      ...healed,
      ...systemd(UNIT, "systemctl('disable', unit)"),
    },
    {
      byHand: '`systemctl mask`, with `--runtime` or `--now` as well',
      ...healed,
      ...systemd(UNIT, "'mask and stop'"),
    },
    { byHand: 'edit or delete our unit file', ...healed, ...systemd(UNIT, "'unit file deleted'") },
    {
      byHand: 'edit our unit file while the process runs on',
      ...healed,
      note: 'the process never saw the edit, and is not restarted',
      ...service('an edited unit file comes back, and the process that never saw the edit is left alone'),
    },
    { byHand: 'delete one of our drop-ins', ...breakage('drop-in deleted') },
    {
      byHand: '`systemctl edit` (a drop-in of their own)',
      ...reported('ForeignUnitFiles'),
      note: 'the unit stays Ready',
      ...service('what others put above the unit is told, and removed only when exclusive', 'override.conf'),
    },
    {
      byHand: '`systemctl edit`, where the document says `exclusive: true`',
      ...healed,
      ...service(
        'what others put above the unit is told, and removed only when exclusive',
        'exclusive: true',
      ),
    },
    {
      byHand: '`systemctl kill`, within a minute of its start',
      ...healed,
      reason: 'CrashLoop',
      note: 'a minute later',
      ...runs('one that is killed young is started again after a minute'),
    },
    {
      byHand: '`systemctl freeze`',
      ...reported('Frozen'),
      ...runs('a frozen unit is not Ready'),
    },
    {
      byHand: '`systemctl start` and `enable`, where the document says stopped and not enabled',
      ...healed,
      ...service('what is neither to run nor to be enabled need not be there, and is stopped when it comes'),
    },
    {
      byHand: '`systemctl start`, where it says `state: unmanaged`',
      ...left,
      ...cases('18: a job that its timer runs is neither started nor killed', "systemctl('start'"),
    },
    {
      byHand: 'upgrade its package by apt, where `restartOn` names the Package',
      ...healed,
      note: 'restarted: no process of the old program is left',
      ...cases(
        '21: a process of an older package is restarted, or its deleted program is reported',
        'behind its back',
      ),
    },
  ],
  Package: [
    { byHand: '`apt remove`, `dpkg --purge`', ...healed, ...apt(PACKAGE, "'apt-get remove'") },
    {
      byHand: 'upgrade it by apt, where the document names another version and says `allowDowngrade`',
      ...healed,
      ...apt(PACKAGE, "'an upgrade'"),
    },
    { byHand: 'an older version by dpkg', ...healed, ...apt(PACKAGE, "'a downgrade'") },
    {
      byHand: 'a newer version, where the document does not say `allowDowngrade`',
      ...reported('WouldDowngrade'),
      ...apt(VERSION, "'hs-hello=2.0'"),
    },
    {
      byHand: 'another version that the document’s pattern takes',
      ...left,
      ...apt(VERSION, "'hs-hello=1.0'"),
    },
    {
      byHand: '`apt-mark unhold`, where it says `hold: true`',
      ...healed,
      ...apt(PACKAGE, "'apt-mark unhold'"),
    },
    {
      byHand: '`apt-mark hold` at a version that the document does not take',
      ...reported('Held'),
      ...refused('somebody’s hold is not overruled by silence', "'Held'"),
    },
    { byHand: 'delete a file of it', ...breakage('a file of it removed'), note: 'at the next look' },
    {
      byHand: 'edit a configuration file of the package',
      ...left,
      note: 'over upgrades, too',
      ...apt(
        'an edited file of its own stays over an upgrade; a package that was there stays when its document leaves',
        "'ours\\n'",
      ),
    },
    {
      byHand: 'interrupt dpkg',
      ...healed,
      ...apt(PACKAGE, "'unpacked, and cut off before it was configured'"),
    },
    {
      byHand: 'use apt at the same moment',
      ...reported('DpkgLocked'),
      note: 'waited for',
      ...apt('while somebody else is at work it waits, says who that is, and goes on after'),
    },
    {
      byHand: 'pin another version (apt_preferences)',
      ...left,
      note: 'the pin holds, and is named where it stands in the way',
      ...cases('23: a pin of the host’s owner is kept, and named where it stands in the way'),
    },
  ],
  AptRepository: [
    { byHand: 'edit or delete the source', ...healed, ...apt(PACKAGE, "'the source deleted'") },
    { byHand: 'delete or empty the keyring', ...healed, ...apt(PACKAGE, "'the keyring emptied'") },
    { byHand: 'another key in its place', ...breakage('the keyring replaced') },
    { byHand: 'add a key to the keyring', ...breakage('a key added to the keyring') },
    { byHand: 'empty apt’s lists', ...breakage('the lists emptied') },
    {
      byHand: 'a second source of the same repository with another keyring',
      ...reported('SourceConflict'),
      note: 'it goes on by itself when that is gone',
      ...cases(
        '24: another source with another keyring is named, apt works on, and it goes on by itself',
        'The other order',
      ),
    },
  ],
  AlloyConfig: [
    {
      byHand: 'edit the config',
      ...healed,
      note: 'and reloaded',
      ...alloy(
        'a hand-edited file is put back and reloaded; a reload by hand of another text is seen',
        "'// edited\\n'",
      ),
    },
    { byHand: 'delete it', ...breakage('delete') },
    { byHand: '`chmod`', ...breakage('chmod') },
    { byHand: 'load another text, and put the file back', ...breakage('loaded with another text') },
    { byHand: 'load a text that closes Alloy’s API', ...breakage('loaded with a text that closes its API') },
    {
      byHand: 'stop Alloy',
      ...unwell('stopped', 'AlloyNotRunning'),
      note: 'its Service document starts it, where there is one',
    },
    {
      byHand: 'edit the config while Alloy is stopped',
      ...healed,
      ...alloy('a confirmed config is healed while Alloy is stopped, and that counts'),
    },
    { byHand: '`kill -STOP` of Alloy', ...unwell('hanging', 'AlloySilent') },
    {
      byHand: 'another program at Alloy’s address',
      ...unwell('another program at its address', 'AlloySilent'),
    },
    {
      byHand: 'start it with another config',
      ...reported('FlagsDiffer'),
      ...directory('an Alloy that was started with another config is not reloaded, and that is reported'),
    },
    {
      byHand: 'write a broken file beside ours, where Alloy reads the directory',
      ...reported('NeighbourRefused'),
      note: 'ours is healed all the same',
      ...directory('a heal reloads no directory in which somebody else’s file is refused'),
    },
    {
      byHand: 'write any file beside ours, where Alloy reads ours alone',
      ...left,
      ...directory(
        'a file of another name in the directory, with the one of the document loaded alone, is nobody’s business',
      ),
    },
    {
      byHand: 'take away what a component needs',
      ...reported('Unhealthy'),
      ...alloy(
        'components that are not healthy make a confirmed config Degraded, also after a restart, until they are well',
      ),
    },
  ],
  Container: [
    { byHand: '`docker rm -f`', ...healed, ...container(CONTAINER, "['rm', '-f', 'alloy']") },
    { byHand: '`docker stop`, `docker kill`', ...healed, ...container(CONTAINER, "['kill', 'alloy']") },
    { byHand: '`docker pause`', ...healed, ...container(CONTAINER, "['pause', 'alloy']") },
    { byHand: '`docker rename`', ...healed, ...container(CONTAINER, "['rename', 'alloy'") },
    {
      byHand: '`docker update` of the restart policy or the memory',
      ...healed,
      note: 'in place',
      ...container(CONTAINER, "['update', '--memory"),
    },
    {
      byHand: '`docker update` of a limit that the document does not name',
      ...left,
      ...data('docker update is mended in place, or left where the spec says nothing', "'--cpu-shares=100'"),
    },
    {
      byHand: '`docker network connect`, `disconnect`',
      ...healed,
      ...network(
        'a port is published where it is said, and the network is kept as it is said',
        "'disconnect'",
      ),
    },
    {
      byHand: '`docker restart`',
      ...left,
      ...container(
        'one that the engine has to start again is not ready, also for an agent that is new',
        "'restart'",
      ),
    },
    {
      byHand: 'kill its process from within',
      ...reported('CrashLoop'),
      note: 'the engine starts it again; Ready after a minute',
      ...container(
        'one that the engine has to start again is not ready, also for an agent that is new',
        "'kill -TERM 1'",
      ),
    },
    {
      byHand: 'a container of their own that has the name already',
      ...reported('NotOurs'),
      note: 'unless the document says `adopt: true`',
      ...container(
        'a stranger’s container is left alone, or adopted when told, and comes back at removal',
        "'NotOurs'",
      ),
    },
    {
      byHand: '`docker tag` another image with this name',
      ...left,
      note: 'what is healed is made of the image that was confirmed',
      ...container(
        'an image that can’t be had parks the change; what runs is kept up meanwhile',
        "'tag', 'test/alloy:2'",
      ),
    },
    {
      byHand: 'remove a directory that it has mounted',
      ...reported('MountMissing'),
      note: 'started anew when there is another',
      ...container('a directory that it has mounted goes, and another one takes its place', "'MountMissing'"),
    },
    {
      byHand: 'restart, or make anew, the container whose network it has joined',
      ...healed,
      ...data('one in another’s network follows it: to its next start, and to the next container'),
    },
    {
      byHand: 'restart the engine',
      ...healed,
      ...container('an engine that is away is waited for, and one that is back is watched again'),
    },
  ],
  ComposeProject: [
    {
      byHand: '`docker rm -f` of a service of ours',
      ...healed,
      ...compose(COMPOSE, "'docker rm -f of ours'"),
    },
    {
      byHand: '`docker compose stop` of a service that we extend',
      ...healed,
      ...compose(COMPOSE, "'docker compose stop of theirs that we extend'"),
    },
    {
      byHand: '`docker compose -f compose.yaml up`, without our file',
      ...healed,
      ...compose(COMPOSE, "'up without our file'"),
    },
    {
      byHand: '`docker compose up`',
      ...left,
      ...compose('our services join theirs, stay through a plain up, and are all that goes again'),
    },
    { byHand: 'edit or delete our file', ...healed, ...compose(COMPOSE, "'our file deleted'") },
    { byHand: '`chmod` of our file of secrets', ...healed, ...compose(COMPOSE, "'env file opened to all'") },
    {
      byHand: '`-p`: the project under another name',
      ...reported('OtherCommandLine'),
      ...owner(OTHER_COMMAND_LINE, "['-p', 'shop']"),
    },
    {
      byHand: '`-f` or `--env-file`: from other files than those that compose finds',
      ...reported('OtherCommandLine'),
      ...owner(OTHER_COMMAND_LINE, "['--env-file', 'prod.env']"),
    },
    {
      byHand: '`--scale` of a service that we extend',
      ...left,
      ...owner('replicas that the owner asked for stay as many'),
    },
    {
      byHand: 'edit the command of a service that we extend',
      ...healed,
      note: 'theirs as it is now, with ours after it',
      ...compose('our command follows theirs, whatever its form, and variables mean what they meant'),
    },
    {
      byHand: 'name other files in `COMPOSE_FILE`',
      ...left,
      note: 'followed',
      ...compose(
        'files that COMPOSE_FILE names are theirs too, and are followed from the moment they are named',
      ),
    },
    {
      byHand: 'switch off the profile of a service that we extend',
      ...reported('BaseDiffers'),
      note: 'what runs goes on',
      ...owner('a service behind a profile that is switched off is waited for, and theirs works meanwhile'),
    },
    {
      byHand: 'rename a service that one of ours needs',
      ...reported('BaseDiffers'),
      ...owner('what compose refuses beside their new files is left out of ours, and comes back'),
    },
    {
      byHand: 'change a value in `.env` that a service of theirs reads',
      ...left,
      note: 'ours get it; theirs are for the next `docker compose up`',
      ...owner('a value that changes in .env reaches our services, and theirs are their owner’s'),
    },
    {
      byHand: 'replace a file that we have mounted',
      ...healed,
      note: 'started anew at the next look',
      ...owner('a service starts anew when what it reads was changed, by a mount or by restartOn', 'by hand'),
    },
    {
      byHand: 'write an override of their own',
      ...breakage('an override of theirs'),
      note: 'theirs stays; ours moves to a file beside it',
    },
    {
      byHand: '`docker compose down`',
      ...healed,
      ...compose('after a down by hand our part comes back, and nothing else of the project'),
    },
  ],
  PrometheusConfig: [
    {
      byHand: 'edit prometheus.yml outside our block',
      ...left,
      ...prometheus(
        'a job is added, loaded, healed, and taken out again; the rest of the file stays',
        "'15s', '20s'",
      ),
    },
    {
      byHand: 'edit our block',
      ...healed,
      ...prometheus(
        'a job is added, loaded, healed, and taken out again; the rest of the file stays',
        "'127.0.0.1:20', '127.0.0.1:30'",
      ),
    },
    { byHand: 'cut our block out', ...breakage('the block cut out') },
    {
      byHand: 'put an old copy of the whole file in its place',
      ...breakage('the whole file overwritten by its old self'),
    },
    {
      byHand: 'edit or delete our file of jobs',
      ...healed,
      ...jobs('the file is healed: edited, deleted, its directory gone, no longer listed'),
    },
    {
      byHand: 'save the file in steps, empty first',
      ...reported('Empty'),
      note: 'written when it is at rest',
      ...jobs('an editor that empties the file before it fills it loses nothing'),
    },
    {
      byHand: 'load another config, and put the file back',
      ...breakage('another config loaded, and the file put back'),
    },
    {
      byHand: 'change a rule file',
      ...breakage('a rule file changed'),
      note: 'Prometheus is reloaded; the rules stay as they are',
    },
    {
      byHand: 'break a rule file',
      ...reported('RulesRefused'),
      ...loaded(
        'a broken rule file is reported, with promtool’s words, and never reloaded; a good one is loaded',
      ),
    },
    {
      byHand: 'a job of their own that has the name already',
      ...reported('JobNameTaken'),
      ...jobs('a job of theirs is refused in every way of writing it, with its line'),
    },
    { byHand: 'stop Prometheus', ...unwell('Prometheus stopped', 'PrometheusNotRunning') },
    { byHand: 'start it with another config', ...unwell('Prometheus reads another config', 'NotLoaded') },
  ],
  GrafanaDashboard: [
    { byHand: 'edit a panel', ...healed, ...grafana(DASHBOARD, "'a panel edited'") },
    { byHand: 'rename it', ...healed, ...grafana(DASHBOARD, "'renamed'") },
    { byHand: 'move it to another folder', ...healed, ...grafana(DASHBOARD, "'moved'") },
    { byHand: 'delete it, or its folder', ...healed, ...grafana(DASHBOARD, "'its folder deleted'") },
    {
      byHand: 'edit it, where the document says `drift: warn`',
      ...reported('Drifted'),
      ...grafana('in warn mode, and on a host that observes, a difference is told and nothing is touched'),
    },
    {
      byHand: 'save it at the moment at which we write',
      ...healed,
      ...grafana('two edits at the same moment: ours is tried again on what the other wrote'),
    },
    {
      byHand: 'have it provisioned from a file',
      ...reported('Provisioned'),
      ...grafana('what is provisioned from a file is left alone, in words'),
    },
    {
      byHand: 'revoke the token, or its role',
      ...reported('Unauthorized'),
      ...grafana(
        'a token that is refused, or may too little, is told with what to do; a better one mends it',
      ),
    },
    { byHand: 'stop Grafana', ...unwell('Grafana stopped', 'GrafanaAway') },
  ],
  GrafanaDatasource: [
    {
      byHand: 'change its address',
      ...healed,
      ...grafana(DATASOURCE, "put({ url: 'http://127.0.0.1:10' })"),
    },
    { byHand: 'rename or delete it', ...healed, ...grafana(DATASOURCE, "put({ name: 'Mine' })") },
    {
      byHand: 'change a setting that the document names',
      ...healed,
      ...grafana(DATASOURCE, "timeInterval: '5s'"),
    },
    {
      byHand: 'change a setting that it does not name',
      ...left,
      ...grafana('a setting of a data source that the document does not name stays as somebody set it'),
    },
    { byHand: 'make another one the default', ...healed, ...grafana(DATASOURCE, 'isDefault: true });') },
    {
      byHand: 'take its secret away',
      ...healed,
      ...grafana(
        'a secret of a data source is written when it changes, and when Grafana has lost it',
        'secureJsonFields: {}',
      ),
    },
    {
      byHand: 'stop the server that it names',
      ...reported('DatasourceUnhealthy'),
      ...grafana(
        'a data source that Grafana cannot use is not Ready, with Grafana’s words, until its server is back',
      ),
    },
    {
      byHand: 'have it provisioned from a file',
      ...reported('Provisioned'),
      ...grafana('what is provisioned from a file is left alone, in words', 'readOnly: true'),
    },
  ],
  TailnetPolicy: [
    {
      byHand: 'edit it in the admin console, its comments too',
      ...healed,
      note: 'within a minute: the API has no events',
      ...policy('an edit in the admin console is noticed by polling and put back, its comments too'),
    },
    {
      byHand: 'edit it, where the document says `drift: warn`',
      ...reported('Drifted'),
      ...policy('with drift: warn it is reported with its diff, and left'),
    },
    {
      byHand: 'edit it before homeostat knows the policy',
      ...reported('NotImported'),
      ...policy('a policy that was not imported is left alone, and the way on is said'),
    },
    {
      byHand: 'edit it at the moment at which we write',
      ...healed,
      note: 'not before it was looked at again',
      ...policy('somebody who edits while it is applied is not overwritten unseen'),
    },
    { byHand: 'overwrite it through the API', ...breakage('overwritten by curl') },
    { byHand: 'take a scope of the OAuth client away', ...unwell('a scope taken away', 'MissingScope') },
    { byHand: 'delete the OAuth client', ...unwell('the client deleted', 'Unauthorized') },
  ],
  TailscaleClient: [
    {
      byHand: '`tailscale set --webclient=false`',
      ...healed,
      ...tailscale(
        'the web client is turned on, answers, and is turned on again by whoever it is turned off',
        "cli('set', '--webclient=false')",
      ),
    },
    { byHand: '`tailscale set --hostname`, where the document names it', ...breakage('name given back') },
    { byHand: '`tailscale set --posture-checking=false`, where it names that', ...breakage('posture off') },
    {
      byHand: '`tailscale set` of anything else',
      ...left,
      ...client('a preference that the document does not name stays as its owner sets it'),
    },
    { byHand: '`tailscale down`', ...unwell('tailscale down', 'NotRunning') },
    { byHand: '`tailscale logout`', ...unwell('logged out', 'NeedsLogin') },
    {
      byHand: 'restart tailscaled, then `tailscale set --webclient=false`',
      ...healed,
      ...tailscale('a tailscaled that is restarted or stopped is met again', "'restart', 'tailscaled'"),
    },
    { byHand: 'a firewall before the metrics', ...unwell('nobody listens on :5252', 'MetricsDoNotAnswer') },
  ],
  Check: [
    { byHand: 'stop what is asked', ...unwell('cut off', 'CheckFailed'), note: 'a Check changes nothing' },
    { byHand: 'have it answer an error', ...unwell('another status', 'CheckFailed') },
    { byHand: 'have it answer something else', ...unwell('another body', 'CheckFailed') },
    {
      byHand: 'the same for less than `for`',
      ...reported('Failing'),
      note: 'it stays Ready',
      ...proves('unit/kinds/check.test.ts')(
        'it is asked at its interval, and fails only after `for`; then it says what was answered',
        "'Failing'",
      ),
    },
  ],
};
