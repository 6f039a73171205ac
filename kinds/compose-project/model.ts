// The project as compose itself resolves it on this host: variables filled in, files merged and extended, names of
// volumes and networks as the engine gets them.
import { type Io, type Project, resolvedText } from './compose.ts';

export interface ModelVolume {
  readonly type: string;
  /** An absolute path, or a key of `volumes`; missing for a volume that nobody named. */
  readonly source?: string;
  readonly target: string;
  readonly read_only?: boolean;
  readonly bind?: { readonly propagation?: string };
}

interface ModelPort {
  readonly host_ip?: string;
  readonly target: number;
  readonly protocol?: string;
}

export interface ModelService {
  readonly image?: string;
  readonly volumes?: readonly ModelVolume[];
  readonly ports?: readonly ModelPort[];
  readonly cap_add?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly devices?: readonly (string | { readonly source: string })[];
  readonly logging?: {
    readonly driver?: string;
    readonly options?: Readonly<Record<string, unknown>> | null;
  };
  readonly networks?: Readonly<Record<string, unknown>> | null;
  readonly network_mode?: string;
  readonly pid?: string;
  readonly privileged?: boolean;
}

interface ModelOf<T> {
  readonly [key: string]: T | undefined;
}

export interface Model {
  readonly name: string;
  readonly services?: ModelOf<ModelService>;
  readonly volumes?: ModelOf<{
    readonly name?: string;
    readonly driver?: string;
    readonly driver_opts?: Readonly<Record<string, string>>;
  }>;
  readonly networks?: ModelOf<{ readonly name?: string }>;
}

/** @param part a compose file that joins the others; it is not written anywhere. undefined where compose refuses them. */
export async function modelOf(
  at: Project,
  files: readonly string[],
  part: string | undefined,
  io: Io,
  signal: AbortSignal,
): Promise<Model | undefined> {
  const text = await resolvedText(at, files, part, io, signal);
  return text === undefined ? undefined : (JSON.parse(text) as Model);
}
