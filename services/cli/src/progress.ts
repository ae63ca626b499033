import { SingleBar } from 'cli-progress';

/** How far a command is, in whatever unit the command counts. */
export interface Progress {
  update(done: number, total: number, text: string): void;
  /** Something worth a line of its own where there is no bar. */
  note(text: string): void;
  stop(): void;
}

/** A bar for people at a terminal, else plain lines: one for each tenth of the way and for each note. */
export function showProgress(output: NodeJS.WriteStream): Progress {
  return output.isTTY ? bar(output) : lines(output);
}

function bar(stream: NodeJS.WriteStream): Progress {
  const single = new SingleBar({
    stream,
    format: '{bar} {percentage} % | {text}',
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    // Its handler would keep Ctrl-C from ending the process.
    gracefulExit: false,
    // Lines are cut to the terminal's width; switching its wrapping off would outlive a Ctrl-C.
    linewrap: true,
  });
  let started = false;
  return {
    update(done, total, text) {
      if (!started) single.start(total, 0, { text });
      started = true;
      single.setTotal(total);
      single.update(done, { text });
    },
    note(text) {
      if (started) single.update({ text });
      else stream.write(`${text}\n`);
    },
    stop: () => single.stop(),
  };
}

function lines(stream: NodeJS.WriteStream): Progress {
  let tenths = 0;
  return {
    update(done, total, text) {
      const reached = total > 0 ? Math.floor((10 * done) / total) : 10;
      if (reached > tenths) stream.write(`${reached}0 % ${text}\n`);
      tenths = Math.max(tenths, reached);
    },
    note: (text) => void stream.write(`${text}\n`),
    stop() {},
  };
}
