// A document that was made of what a host has, before it is written: with what a person should know about it, and
// whether it goes in as it is or as a comment.
import { dump } from 'js-yaml';
import { API_VERSION } from '../../../api/documents.ts';

export interface Draft {
  readonly kind: string;
  readonly name: string;
  /** The YAML file below the output directory that it goes into. */
  readonly file: string;
  readonly hosts: readonly string[];
  readonly spec: Readonly<Record<string, unknown>>;
  /** For people, above it. */
  readonly remarks: readonly string[];
  /** Why it goes in as a comment, in words that follow "not taken over: "; undefined when it is taken over. */
  readonly doubt?: string;
  /** Files for contentFrom, by their path below the output directory. */
  readonly beside?: ReadonlyMap<string, string>;
}

/** What one part of a host gave. */
export interface Gathered {
  readonly drafts: readonly Draft[];
  /** What was not looked at, and why; for the terminal. */
  readonly notes: readonly string[];
}

export const NOTHING: Gathered = { drafts: [], notes: [] };

export function keyOf({ kind, name }: Draft): string {
  return `${kind}/${name}`;
}

export function doubted(draft: Draft, doubt: string): Draft {
  return { ...draft, doubt: draft.doubt === undefined ? doubt : `${draft.doubt}\n${doubt}` };
}

/** The document as YAML; as a comment, where it is in doubt. */
export function draftText(draft: Draft): string {
  const document = dump({
    apiVersion: API_VERSION,
    kind: draft.kind,
    metadata: { name: draft.name },
    hosts: { names: [...draft.hosts] },
    spec: draft.spec,
  });
  const { doubt } = draft;
  const remarks = doubt === undefined ? draft.remarks : [`not taken over: ${doubt}`, ...draft.remarks];
  const comments = remarks.flatMap((remark) => remark.split('\n')).map((line) => `# ${line}`.trimEnd());
  const lines = document.trimEnd().split('\n');
  return [
    ...comments,
    ...(doubt === undefined ? lines : ['#', ...lines.map((line) => `#  ${line}`)]),
    '',
  ].join('\n');
}

/** A name that documents may have, with the host's: documents of one kind have one name each in the whole fleet. */
export function nameFor(what: string, host: string): string {
  const plain = `${what}-${host}`.toLowerCase().replaceAll(/[^a-z0-9.-]+/g, '-');
  return plain.slice(0, 63).replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
}
