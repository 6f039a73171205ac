// What can befall a controller, each caused for real. A file of this directory exports an array of them, and
// controller.ts lists the arrays.
export interface Cause {
  readonly name: string;
  /** Rejects when it was not survived; leaves nothing behind. */
  readonly run: () => Promise<void>;
}
