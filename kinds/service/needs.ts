// What a unit's text lets it do, as far as the text says: programs, accounts, other units, directories. What is not
// known to be harmless amounts to root, and is named by its setting. Pure.
import path from 'node:path';
import type { Permission } from '../kind.ts';
import { commandsIn, type Setting, settingsIn, wordsIn } from './unit-text.ts';

export interface Needs {
  readonly permissions: readonly Permission[];
  /** Programs that it runs, as they are named. */
  readonly programs: readonly string[];
}

/** @param isWhole it is a unit file, and not a drop-in. */
export function needsOf(unit: string, text: string, isWhole: boolean): Needs {
  const settings = settingsIn(text);
  const needs = settings.map((setting) => needsOfSetting(unit, setting));
  const programs = needs.flatMap((need) => need.programs);
  const permissions = [
    ...needs.flatMap((need) => need.permissions),
    ...(isWhole ? impliedBy(unit, settings) : []),
  ];
  const distinct = new Map(permissions.map((p) => [`${p.type} ${p.value}`, p]));
  return { programs: [...new Set(programs)], permissions: [...distinct.values()] };
}

const NOTHING: Needs = { permissions: [], programs: [] };

function needsOfSetting(unit: string, { key, value }: Setting): Needs {
  const power = (what: string): Permission => ({
    type: 'root-equivalent',
    value: `unit-file:${unit}:${what}`,
    why: 'what it lets the unit do can’t be told from the text, or goes beyond running a program',
  });
  const unknown = { permissions: [power(key === '' ? 'text' : key)], programs: [] };
  if (key.startsWith('X-')) return NOTHING; // ignored by systemd
  if (EXEC_SETTINGS.has(key)) {
    const commands = commandsIn(value);
    return {
      programs: commands.flatMap(({ program }) => program ?? []),
      permissions: [
        ...(commands.some(({ program }) => program === undefined) ? [power(key)] : []),
        ...(commands.some(({ prefix }) => /[+!|]/.test(prefix)) ? [power(`${key}+`)] : []),
      ],
    };
  }
  if (key === 'Environment') return isHarmlessEnvironment(value) ? NOTHING : unknown;
  if (/^Standard(?:Input|Output|Error)$/.test(key)) {
    return ['', 'null', 'journal', 'inherit', 'kmsg', 'socket'].includes(value) ? NOTHING : unknown;
  }
  if (HARMLESS.has(key)) return NOTHING;
  const named = namedBy(unit, key, value);
  return named === undefined ? unknown : { permissions: named, programs: [] };
}

/** What a setting names; undefined where it is none of those, or a name is written so that it is not known. */
function namedBy(unit: string, key: string, value: string): Permission[] | undefined {
  const isAccount = key === 'User' || key === 'Group' || key === 'SupplementaryGroups';
  const directory = DIRECTORIES[key];
  if (!isAccount && directory === undefined && !UNIT_SETTINGS.has(key)) return undefined;
  const words = wordsIn(value);
  if (words.some(({ raw, isWhole }) => !isWhole || /[%\\$]/.test(raw))) return undefined;
  const names = words.map(({ text }) => text);
  const why = `${unit} has it in ${key}=`;
  if (isAccount) {
    // Without a value it is root again, whatever was said before.
    const accounts = names.length === 0 && key !== 'SupplementaryGroups' ? ['root'] : names;
    return accounts.map((account) => ({ type: 'user', value: account, why }));
  }
  if (directory !== undefined) {
    return names
      .flatMap((name) => name.split(':'))
      .map((name) => ({
        type: 'path',
        value: `${path.join(directory, name)}/`,
        why: `${why}, which makes it and gives it away`,
      }));
  }
  return names.filter((name) => !isOrdinaryTarget(name)).map((name) => ({ type: 'unit', value: name, why }));
}

/** A timer, a path or a socket without a word on it starts the service of its name. */
function impliedBy(unit: string, settings: readonly Setting[]): Permission[] {
  const name = /^(.*)\.(?:timer|path|socket)$/.exec(unit)?.[1];
  const isNamed = settings.some(({ key, value }) => (key === 'Unit' || key === 'Service') && value !== '');
  return name === undefined || isNamed
    ? []
    : [{ type: 'unit', value: `${name}.service`, why: `${unit} starts it` }];
}

const ORDINARY_TARGETS =
  words(`basic default getty graphical local-fs multi-user network network-online network-pre
  nss-lookup nss-user-lookup paths remote-fs rpcbind slices sockets swap sysinit time-set time-sync timers`);

function isOrdinaryTarget(name: string): boolean {
  return name.endsWith('.target') && ORDINARY_TARGETS.has(name.slice(0, -'.target'.length));
}

/** Variables that make a program run other code, or be another one. */
const STEERING =
  /^(?:LD_|DYLD_|GCONV_|GLIBC|MALLOC_|LOCPATH|NLSPATH|PATH$|SHELL$|ENV$|BASH|IFS$|PS4$|PROMPT|PYTHON|PERL|RUBY|GEM_|NODE_|NPM_|JAVA_|JDK_|_JAVA|CLASSPATH|LUA_|PHP|GIT_|SSH_|EDITOR|PAGER|VISUAL|OPENSSL_|SSLKEYLOG|NOTIFY_|LISTEN_|HOME$|XDG_|TMPDIR|DOCKER_|DBUS_|CREDENTIALS_)/;

/** Whether a variable of this name is more than data for the program that is granted. */
export const isSteering = (name: string): boolean => STEERING.test(name);

function isHarmlessEnvironment(value: string): boolean {
  return wordsIn(value).every(({ raw, text, isWhole }) => {
    const name = /^([A-Za-z_][A-Za-z0-9_]*)=/.exec(text)?.[1];
    return isWhole && !raw.includes('\\') && name !== undefined && !isSteering(name);
  });
}

function words(text: string): ReadonlySet<string> {
  return new Set(text.split(/\s+/));
}

const EXEC_SETTINGS = words(
  'ExecStart ExecStartPre ExecStartPost ExecCondition ExecReload ExecReloadPost ExecStop ExecStopPre ExecStopPost',
);

/** Below which a directory of the unit is made, and given to its account. */
const DIRECTORIES: Readonly<Record<string, string>> = {
  StateDirectory: '/var/lib',
  RuntimeDirectory: '/run',
  CacheDirectory: '/var/cache',
  LogsDirectory: '/var/log',
  ConfigurationDirectory: '/etc',
};

/** They start, stop or replace other units, or have them do so with this one. */
const UNIT_SETTINGS =
  words(`Wants Requires Requisite BindsTo Upholds Conflicts OnFailure OnSuccess PropagatesReloadTo
  PropagatesStopTo Unit Service Sockets Also Alias WantedBy RequiredBy UpheldBy`);

/** What a unit may say of when and how it runs, of what it may use, and of what it may not do. */
const HARMLESS = words(`Description Documentation After Before PartOf ReloadPropagatedFrom StopPropagatedFrom
  RequiresMountsFor WantsMountsFor OnFailureJobMode OnSuccessJobMode IgnoreOnIsolate StopWhenUnneeded RefuseManualStart
  RefuseManualStop DefaultDependencies SurviveFinalKillSignal CollectMode JobTimeoutSec JobRunningTimeoutSec
  StartLimitIntervalSec StartLimitBurst StartLimitInterval DefaultInstance
  ConditionArchitecture ConditionVirtualization ConditionHost ConditionKernelCommandLine ConditionKernelVersion
  ConditionSecurity ConditionCapability ConditionACPower ConditionFirstBoot ConditionPathExists ConditionPathExistsGlob
  ConditionPathIsDirectory ConditionPathIsSymbolicLink ConditionPathIsMountPoint ConditionPathIsReadWrite
  ConditionDirectoryNotEmpty ConditionFileNotEmpty ConditionFileIsExecutable ConditionUser ConditionGroup ConditionMemory
  ConditionCPUs ConditionEnvironment ConditionOSRelease AssertPathExists AssertFileNotEmpty AssertFileIsExecutable
  Type ExitType RemainAfterExit GuessMainPID Restart RestartSec RestartSteps RestartMaxDelaySec RestartMode TimeoutSec
  TimeoutStartSec TimeoutStopSec TimeoutAbortSec RuntimeMaxSec RuntimeRandomizedExtraSec WatchdogSec SuccessExitStatus
  RestartPreventExitStatus RestartForceExitStatus NonBlocking NotifyAccess OOMPolicy KillMode KillSignal
  RestartKillSignal SendSIGHUP SendSIGKILL FinalKillSignal WatchdogSignal ReloadSignal
  Slice Delegate CPUAccounting CPUWeight StartupCPUWeight CPUQuota CPUQuotaPeriodSec AllowedCPUs MemoryAccounting
  MemoryMin MemoryLow MemoryHigh MemoryMax MemorySwapMax MemoryLimit MemoryZSwapMax TasksAccounting TasksMax IOAccounting
  IOWeight StartupIOWeight IPAccounting IPAddressAllow IPAddressDeny ManagedOOMSwap ManagedOOMMemoryPressure
  CPUShares BlockIOWeight Nice OOMScoreAdjust CPUSchedulingPolicy CPUSchedulingPriority CPUAffinity NUMAPolicy
  IOSchedulingClass IOSchedulingPriority TimerSlackNSec UMask KeyringMode IgnoreSIGPIPE SyslogIdentifier SyslogFacility
  SyslogLevel SyslogLevelPrefix LogLevelMax LogRateLimitIntervalSec LogRateLimitBurst UnsetEnvironment DynamicUser
  LimitCPU LimitFSIZE LimitDATA LimitSTACK LimitCORE LimitRSS LimitNOFILE LimitAS LimitNPROC LimitMEMLOCK LimitLOCKS
  LimitSIGPENDING LimitMSGQUEUE LimitNICE LimitRTPRIO LimitRTTIME
  StateDirectoryMode RuntimeDirectoryMode RuntimeDirectoryPreserve CacheDirectoryMode LogsDirectoryMode
  ConfigurationDirectoryMode WorkingDirectory
  NoNewPrivileges ProtectSystem ProtectHome ProtectProc ProcSubset ProtectKernelTunables ProtectKernelModules
  ProtectKernelLogs ProtectControlGroups ProtectClock ProtectHostname PrivateTmp PrivateDevices PrivateNetwork
  PrivateIPC PrivateUsers PrivateMounts RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID
  RestrictFileSystems LockPersonality MemoryDenyWriteExecute RemoveIPC SystemCallFilter SystemCallArchitectures
  SystemCallErrorNumber CapabilityBoundingSet ReadOnlyPaths ReadWritePaths InaccessiblePaths ExecPaths NoExecPaths
  DevicePolicy
  OnActiveSec OnBootSec OnStartupSec OnUnitActiveSec OnUnitInactiveSec OnCalendar OnClockChange OnTimezoneChange
  AccuracySec RandomizedDelaySec FixedRandomDelay Persistent WakeSystem RemainAfterElapse
  PathExists PathExistsGlob PathChanged PathModified DirectoryNotEmpty TriggerLimitIntervalSec TriggerLimitBurst`);
