import { createInterface } from 'node:readline/promises';

export type Confirm = (question: string) => Promise<boolean>;

/** Asks the person at the terminal, yes by default; `undefined` where there is nobody to ask. */
export function confirmAtTerminal(): Confirm | undefined {
  if (!process.stdin.isTTY || !process.stdout.isTTY) return undefined;
  return async (question) => {
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    try {
      const answer = await terminal.question(`${question} [Y/n] `);
      return /^(y(es)?)?$/i.test(answer.trim());
    } catch {
      // Ctrl-C or Ctrl-D instead of an answer.
      return false;
    } finally {
      terminal.close();
    }
  };
}
