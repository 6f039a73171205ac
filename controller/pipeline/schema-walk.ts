// Finds one's way in a zod schema, for "did you mean" and for lists of fields. Reads zod's own definition
// objects (`_zod.def`, its documented interface for libraries: zod.dev/library-authors); what it does not know
// it answers with nothing, never with an error.
import type * as z from 'zod';

type Def = {
  readonly type: string;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
  readonly innerType?: z.ZodType;
  readonly options?: readonly z.ZodType[];
  readonly element?: z.ZodType;
  readonly items?: readonly z.ZodType[];
  readonly valueType?: z.ZodType;
  readonly left?: z.ZodType;
  readonly right?: z.ZodType;
  readonly in?: z.ZodType;
  readonly getter?: () => z.ZodType;
};

/** The names of the fields that a mapping at this path may have, in the schema's order; [] when any may stand there. */
export function fieldsAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  return [...new Set(variantsAt(schema, path).flatMap((variant) => Object.keys(defOf(variant).shape ?? {})))];
}

function variantsAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodType[] {
  let variants = unwrap(schema, 0);
  for (const step of path) {
    variants = variants.flatMap((variant) => {
      const def = defOf(variant);
      const next =
        typeof step === 'number'
          ? (def.element ?? def.items?.[step])
          : (def.shape?.[String(step)] ?? def.valueType);
      return next === undefined ? [] : unwrap(next, 0);
    });
  }
  return variants;
}

/** The objects, lists and scalars behind optional, union, lazy and the like. */
function unwrap(schema: z.ZodType, depth: number): z.ZodType[] {
  if (depth > 16) return [];
  const def = defOf(schema);
  const inner = def.innerType ?? def.getter?.() ?? (def.type === 'pipe' ? def.in : undefined);
  if (inner !== undefined) return unwrap(inner, depth + 1);
  const several =
    def.options ?? (def.left !== undefined && def.right !== undefined ? [def.left, def.right] : undefined);
  return several === undefined ? [schema] : several.flatMap((option) => unwrap(option, depth + 1));
}

function defOf(schema: z.ZodType): Def {
  return schema._zod.def as unknown as Def;
}
