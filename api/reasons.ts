// Every reason for which a resource is parked, and what lifts it. Programs read the reasons; each is CamelCase and is
// never given another meaning.

/**
 * What has to change before it is worth another try:
 * - git: another desired state;
 * - agent: the agent's own configuration or version, so a restart of the agent;
 * - host: something on the host (or behind an API), of which an event may tell. The resync asks again in any case.
 */
export type LiftedBy = 'git' | 'agent' | 'host';

export const REASONS = {
  BadUnit: 'git',
  CannotBeEnabled: 'git',
  ComposeRefused: 'git',
  DockerHost: 'agent',
  FolderTaken: 'host',
  Forbidden: 'host',
  Held: 'host',
  ImageNotFound: 'host',
  InstallFailed: 'git',
  Invalid: 'git',
  IsADirectory: 'host',
  JobNameTaken: 'host',
  KeyMismatch: 'git',
  KeyMissing: 'host',
  KeyUnreadable: 'git',
  LockedOut: 'git',
  MissingScope: 'host',
  NameTaken: 'host',
  NeighbourRefused: 'host',
  NoApt: 'host',
  NoDpkg: 'host',
  NoFolder: 'host',
  NoSuchTailnet: 'git',
  NotAFile: 'host',
  NotAllowed: 'host',
  NotImported: 'host',
  NotOurs: 'host',
  NothingToRestore: 'git',
  Provisioned: 'host',
  PullFailed: 'host',
  Refused: 'git',
  ReloadRefused: 'git',
  RemovalParked: 'git',
  RolledBack: 'git',
  RuleFileTaken: 'host',
  SecretMissing: 'host',
  SecretUndecryptable: 'host',
  SnapshotUnreadable: 'agent',
  SourceConflict: 'host',
  StartFailed: 'git',
  Suspended: 'host',
  TooOld: 'host',
  Unauthorized: 'host',
  Unconvertible: 'git',
  UnknownAccount: 'host',
  Unplaceable: 'host',
  Unsolvable: 'host',
  Unsupported: 'agent',
  UpdateRefused: 'host',
  VersionUnavailable: 'host',
  WouldDowngrade: 'git',
  WouldRemove: 'git',
} as const satisfies Record<string, LiftedBy>;

export type Reason = keyof typeof REASONS;
