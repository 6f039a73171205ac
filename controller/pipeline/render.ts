// One document for one host: files inlined, names filled in, checked once more with everything in place, and
// written as the JSON that will be signed. Pure.

import type { Diagnostic } from '../../api/diagnostics.ts';
import { inWords } from '../../api/errors.ts';
import { canonical } from '../../api/json.ts';
import type { AnyKind, Claim, Finding } from '../../kinds/kind.ts';
import { recipientCount } from './age-header.ts';
import { type Bound, fileFieldAt, NO_HOST } from './bind.ts';
import { type Content, type FileField, resolvePath } from './content.ts';
import { describeIssues, type Problem } from './describe-issue.ts';
import { isMapping, valueAt } from './document-values.ts';
import { downloadKey, downloadsOf } from './downloads.ts';
import { HOSTS } from './findings.ts';
import { interpolate, isDynamic, type Scope } from './interpolate.ts';
import { diagnosticAt, originOf, sourceOf } from './parsed.ts';
import { linesOf, placeInSpec } from './places.ts';
import type { Path } from './yaml.ts';

export interface Rendered {
  readonly key: string;
  readonly bound: Bound;
  /** Canonical JSON of the api's Resource. */
  readonly text: string;
  readonly claims: readonly Claim[];
  /** What it names with dependsOn and, through its kind, with restartOn; with the path of each name. */
  readonly references: readonly { readonly ref: string; readonly path: Path }[];
  /** Messages may hold HOSTS. */
  readonly findings: readonly Diagnostic[];
}

/** Where what a file holds goes. */
const INLINED = { contentFrom: 'content', ageFrom: 'age' } as const satisfies Record<FileField, string>;

/** Unknown names of one text that are reported one by one. */
const MAX_UNKNOWN = 20;

const shared = new WeakMap<Bound, Rendered>();

/** @param scope of the host; a document that nothing of the host enters is rendered once for all of them. */
export function render(bound: Bound, scope: Scope): Rendered {
  if (bound.dynamic) return new Renderer(bound, scope).render();
  let rendered = shared.get(bound);
  if (rendered === undefined) {
    rendered = new Renderer(bound, NO_HOST).render();
    shared.set(bound, rendered);
  }
  return rendered;
}

class Renderer {
  readonly #bound: Bound;
  readonly #scope: Scope;
  readonly #findings: Diagnostic[] = [];

  constructor(bound: Bound, scope: Scope) {
    this.#bound = bound;
    this.#scope = scope;
  }

  render(): Rendered {
    const { resource } = this.#bound;
    const { document, kind, key } = resource;
    const spec = this.#value(resource.spec, ['spec']) as Record<string, unknown>;
    // Of a document that has errors already, only what stands in its texts is still looked at.
    if (resource.broken) {
      return { key, bound: this.#bound, text: '', claims: [], references: [], findings: this.#findings };
    }
    let claims: readonly Claim[] = [];
    const references = resource.dependsOn.map(({ ref, path }) => ({ ref, path }));
    if (kind !== undefined && this.#findings.length === 0) {
      try {
        if (this.#fits(spec)) {
          this.#putDownloads(kind, spec);
          for (const finding of kind.check?.(spec) ?? []) this.#finding(finding);
          claims = kind.owns(spec);
          for (const ref of kind.inputs?.(spec) ?? [])
            references.push({ ref, path: findText(spec, ref) ?? ['spec'] });
        }
      } catch (error) {
        this.#report(
          ['spec'],
          this.#where(
            `kind ${kind.kind} can't read this spec (${inWords(error)}): this is a defect of homeostat`,
          ),
        );
      }
    }
    const text = canonical({
      kind: document.kind,
      name: resource.name,
      dependsOn: resource.dependsOn.map(({ ref, until }) => ({ ref, until })),
      drift: document.drift ?? 'enforce',
      // What the fleet shares is not one host's to reset: it goes where a person says so, and not otherwise.
      prune: document.prune ?? (document.runOn === undefined ? 'delete' : 'orphan'),
      ...(document.runOn === undefined ? {} : { scope: 'fleet' }),
      suspend: document.suspend ?? false,
      spec,
      source: sourceOf(resource),
    });
    return { key, bound: this.#bound, text, claims, references, findings: this.#findings };
  }

  #value(value: unknown, path: Path): unknown {
    if (typeof value === 'string') {
      return this.#filledIn(value, (offset, message) => this.#unknownInSpec(path, value, offset, message));
    }
    if (Array.isArray(value)) return value.map((item, i) => this.#value(item, [...path, i]));
    if (!isMapping(value)) return value;
    const out: Record<string, unknown> = {};
    for (const [key, item] of Object.entries(value)) {
      const field = fileFieldAt(path, key);
      if (field === undefined || typeof item !== 'string') {
        out[key] = this.#value(item, [...path, key]);
        continue;
      }
      const inlined = INLINED[field];
      if (inlined in value) {
        this.#report([...path, key], `${inlined} and ${field} are both given: keep one of them`, 'key');
      } else {
        const content = this.#fileAt(item, [...path, key], field);
        if (field === 'contentFrom') out[inlined] = content === undefined ? '' : this.#text(content);
        else if (content !== undefined) {
          out[inlined] = this.#ciphertext(content, [...path, key]);
          out[field] = content.path;
        }
      }
    }
    return out;
  }

  #fileAt(written: string, path: Path, field: FileField): Content | undefined {
    const name = this.#value(written, path) as string;
    const resolved = resolvePath(originOf(this.#bound.resource, path).file, name, field);
    const content = 'path' in resolved ? this.#bound.contents.get(resolved.path) : undefined;
    if (content !== undefined && content.problem === undefined) return content;
    const problem =
      'problem' in resolved ? resolved.problem : (content?.problem?.(field) ?? `${field} can not be read`);
    // A name that has an unknown in it was reported for that already.
    if (!isDynamic(name)) this.#report(path, problem);
    return undefined;
  }

  #text(content: Content): string {
    const lines = linesOf(content);
    return this.#filledIn(content.text, (offset, message) => {
      this.#findings.push({ file: content.path, ...lines.placeOf(offset), severity: 'error', message });
    });
  }

  /** Of many unknown names in one text the first are reported, and how many there are. */
  #filledIn(text: string, report: (offset: number, message: string) => void): string {
    let count = 0;
    let next = 0;
    const filled = interpolate(text, this.#scope, ({ offset, message }) => {
      count += 1;
      if (count <= MAX_UNKNOWN) report(offset, message());
      else if (count === MAX_UNKNOWN + 1) next = offset;
    });
    if (count > MAX_UNKNOWN)
      report(next, `${count - MAX_UNKNOWN} more names from here on have no value, either`);
    return filled;
  }

  /** Nothing of the file is shown: it may be a secret that nobody encrypted. */
  #ciphertext({ path, text }: Content, at: Path): string {
    if (recipientCount(text) !== undefined) return text.trim();
    this.#report(
      at,
      `${path} is not age ciphertext in ASCII armor (or it is damaged): \`homeostat secret encrypt\` makes it; a value that was committed in the clear is to be changed`,
    );
    return '';
  }

  #putDownloads(kind: AnyKind, spec: Record<string, unknown>): void {
    for (const download of downloadsOf(kind, spec)) {
      const path: Path = ['spec', ...download.path];
      const found = this.#bound.downloads.get(downloadKey(download));
      const parent = valueAt(spec, download.into.slice(0, -1));
      if (valueAt(spec, download.into) !== undefined || !isMapping(parent)) {
        const other = `${download.into.at(-1)}`;
        this.#report(path, `it is downloaded to where ${other} stands already: keep one of them`);
      } else if (found === undefined) {
        this.#report(path, 'nothing is downloaded here');
      } else if ('problem' in found) {
        this.#report(path, found.problem, 'value', found.severity);
      } else parent[`${download.into.at(-1)}`] = found.text;
    }
  }

  /** The schema again, now that the host's values are in the texts. */
  #fits(spec: Record<string, unknown>): boolean {
    const { resource, dynamic, contents } = this.#bound;
    const { kind } = resource;
    if (kind === undefined || (!dynamic && contents.size === 0)) return true;
    const problemsOf = (): Problem[] => {
      const result = kind.spec.safeParse(spec);
      const raw = (path: Path): string => {
        const origin = originOf(resource, ['spec', ...path]);
        return origin.yaml.locate(origin.path).raw;
      };
      return result.success
        ? []
        : describeIssues(result.error, kind.spec, spec, raw, `the spec of a ${kind.kind}`);
    };
    let problems = problemsOf();
    if (problems.filter(({ path }) => this.#asTyped(spec, path)).length > 0) problems = problemsOf();
    for (const problem of problems) {
      this.#report(['spec', ...problem.path], this.#where(problem.message), problem.at);
    }
    return problems.length === 0;
  }

  /** `port: ${vars.port}` where the schema wants no text: the variable as the number or boolean that it is. */
  #asTyped(spec: Record<string, unknown>, path: Path): boolean {
    const written = valueAt(this.#bound.resource.spec, path);
    const name = typeof written === 'string' ? /^\$\{vars\.([^${}]*)\}$/.exec(written)?.[1] : undefined;
    const value = name === undefined ? undefined : this.#scope.vars[name];
    const parent = valueAt(spec, path.slice(0, -1));
    if ((typeof value !== 'number' && typeof value !== 'boolean') || typeof parent !== 'object') return false;
    (parent as Record<PropertyKey, unknown>)[path.at(-1)!] = value;
    return true;
  }

  #where(message: string): string {
    return this.#bound.dynamic ? `on ${HOSTS}, ${message}` : message;
  }

  #unknownInSpec(path: Path, text: string, offset: number, message: string): void {
    const { resource } = this.#bound;
    const place = placeInSpec(resource, path, text, offset);
    const { file, say } = originOf(resource, path);
    this.#findings.push({ file, ...place, severity: 'error', message: say(message) });
  }

  /** What a kind says, in the file that the text came from, where it knows the line. */
  #finding({ path, message, severity = 'error', place }: Finding): void {
    const { resource, contents } = this.#bound;
    const at: Path = ['spec', ...path];
    const beside = [...at.slice(0, -1), 'contentFrom'];
    const written = path.at(-1) === 'content' ? valueAt(resource.document, beside) : undefined;
    const name = typeof written === 'string' ? interpolate(written, this.#scope, () => {}) : undefined;
    const file =
      name === undefined ? undefined : resolvePath(originOf(resource, beside).file, name, 'contentFrom');
    if (place !== undefined && file !== undefined && 'path' in file && contents.has(file.path)) {
      this.#findings.push({ file: file.path, ...place, severity, message: this.#where(message) });
      return;
    }
    const where = place === undefined ? '' : `line ${place.line}, column ${place.column}: `;
    this.#report(at, this.#where(`${where}${message}`), 'value', severity);
  }

  #report(
    path: Path,
    message: string,
    at: 'key' | 'value' = 'value',
    severity: Diagnostic['severity'] = 'error',
  ): void {
    const { resource } = this.#bound;
    // What came in through contentFrom stands, for people, where contentFrom does.
    const field = Object.entries(INLINED).find(([, inlined]) => inlined === path.at(-1))?.[0];
    const written =
      field !== undefined && valueAt(resource.document, path) === undefined
        ? [...path.slice(0, -1), field]
        : path;
    this.#findings.push(diagnosticAt(resource, written, at, message, severity));
  }
}

/** The path of the first text that is just this one. */
function findText(value: unknown, text: string, path: Path = ['spec']): Path | undefined {
  if (value === text) return path;
  if (typeof value !== 'object' || value === null) return undefined;
  for (const [key, item] of Object.entries(value)) {
    const found = findText(item, text, [...path, Array.isArray(value) ? Number(key) : key]);
    if (found !== undefined) return found;
  }
  return undefined;
}
