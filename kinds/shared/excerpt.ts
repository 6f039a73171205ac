// What other programs said, short enough to be evidence. Pure.
import { clip } from '../../api/limits.ts';

const MAX_EXCERPT = 2048;

/** For text that holds no secret: half of one is not recognised later. */
export function excerpt(text: string): string {
  return clip(text.trim(), MAX_EXCERPT);
}
