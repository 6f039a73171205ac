// What is known of each document of a commit, and where everything in it stands, so that all that is said about it
// points at the right line: also at a line of the profile that it has a field from.
import type { Diagnostic } from '../../api/diagnostics.ts';
import type {
  FleetDocument,
  HostDocument,
  HostSelector,
  ProfileDocument,
  ResourceDocument,
} from '../../api/documents.ts';
import type { AnyKind } from '../../kinds/kind.ts';
import { inheritedBy } from './findings.ts';
import type { Place } from './lines.ts';
import type { Path, YamlDocument } from './yaml.ts';

interface Common {
  readonly file: string;
  readonly yaml: YamlDocument;
  readonly name: string;
  /** Whether its own schema has complaints; it then only stands in for its name. */
  readonly broken: boolean;
}
export interface ParsedHost extends Common {
  readonly type: 'host';
  readonly document: HostDocument;
}
export interface ParsedFleet extends Common {
  readonly type: 'fleet';
  readonly document: FleetDocument;
}
export interface ParsedProfile extends Common {
  readonly type: 'profile';
  readonly document: ProfileDocument;
}
export interface ParsedResource extends Common {
  readonly type: 'resource';
  /** `Kind/name`. */
  readonly key: string;
  /** Undefined for an unknown kind. */
  readonly kind: AnyKind | undefined;
  /** With what it has from its profile filled in, once that is known. */
  readonly document: ResourceDocument;
  readonly inherited: Inherited | undefined;
  /** The hosts it names; undefined when it names none rightly. */
  readonly selector: HostSelector | undefined;
  readonly dependsOn: readonly DependsOn[];
  readonly spec: Readonly<Record<string, unknown>>;
  /** Whether values of the host enter the spec itself. */
  readonly dynamic: boolean;
  /** Whether other hosts enter it. */
  readonly fleetwide: boolean;
}
export type Parsed = ParsedHost | ParsedFleet | ParsedProfile | ParsedResource;

export interface DependsOn {
  readonly ref: string;
  readonly until: 'Applied' | 'Ready';
  /** Of the reference, in the document with its profile filled in. */
  readonly path: Path;
}

/** What a document has from its profile. */
export interface Inherited {
  readonly profile: ParsedProfile;
  readonly fields: ReadonlySet<PropertyKey>;
  /** Fields of its spec. */
  readonly spec: ReadonlySet<PropertyKey>;
  /** Its first dependencies, by their places in the profile's list. */
  readonly dependsOn: readonly number[];
}

export interface Source {
  readonly file: string;
  readonly yaml: YamlDocument;
  readonly key?: string;
  readonly inherited?: Inherited | undefined;
}

/** Where something of a document was written. */
export interface Origin {
  readonly file: string;
  readonly yaml: YamlDocument;
  readonly path: Path;
  /** What is said of it, with the name of the document that it was inherited by. */
  readonly say: (message: string) => string;
}

export function originOf({ file, yaml, key, inherited }: Source, path: Path): Origin {
  const given = inherited === undefined ? undefined : givenBy(inherited, path);
  if (inherited === undefined || given === undefined)
    return { file, yaml, path: ownPath(path, inherited), say: (message) => message };
  const { profile } = inherited;
  return {
    file: profile.file,
    yaml: profile.yaml,
    path: given,
    say: (message) => `${message} ${inheritedBy(key ?? '')}`,
  };
}

/** The path in the profile; undefined for what the document says itself. */
function givenBy({ fields, spec, dependsOn }: Inherited, path: Path): Path | undefined {
  const [field, step, ...rest] = path;
  if (field === 'spec') return step !== undefined && spec.has(step) ? path : undefined;
  if (field === 'dependsOn' && typeof step === 'number')
    return step < dependsOn.length ? [field, dependsOn[step]!, ...rest] : undefined;
  return field !== undefined && fields.has(field) ? path : undefined;
}

function ownPath(path: Path, inherited: Inherited | undefined): Path {
  const [field, step, ...rest] = path;
  if (inherited === undefined || field !== 'dependsOn' || typeof step !== 'number') return path;
  return [field, step - inherited.dependsOn.length, ...rest];
}

/** A diagnostic about a path of a document. */
export function diagnosticAt(
  document: Source,
  path: Path,
  at: 'key' | 'value',
  message: string,
  severity: Diagnostic['severity'] = 'error',
): Diagnostic {
  const origin = originOf(document, path);
  const place = origin.yaml.locate(origin.path)[at];
  return { file: origin.file, ...place, severity, message: origin.say(message) };
}

/** `file:line`, as other diagnostics and the payload name a document. */
export function sourceOf(document: {
  readonly file: string;
  readonly yaml: { readonly place: Place };
}): string {
  return `${document.file}:${document.yaml.place.line}`;
}

/** What a diagnostic about a field is to name: the document, or the profile that it has the field from. */
export function ownerOf({ key, inherited }: ParsedResource, path: Path): string {
  const given = inherited === undefined ? undefined : givenBy(inherited, path);
  return inherited === undefined || given === undefined ? key : `Profile/${inherited.profile.name}`;
}
