/** The servers of others that the stores are tested on. Their names are those of `compose.yaml` too. */
export type ServerName = 'openbao' | 'moto' | 'ministack' | 'gcp' | 'gcp-etag';

/** Where a server is that answers. */
export interface RunningServer {
  readonly name: ServerName;
  /** `http://127.0.0.1:8200`; of a gRPC server the port that speaks it. */
  readonly address: string;
  /** The REST port of the Google emulator that has one; else null. */
  readonly rest: string | null;
  /** The name and version, for people. */
  readonly version: string;
}

/** What starts a server that is installed. */
export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface Installed {
  readonly version: string;
  readonly launch: (port: number, restPort: number) => Launch;
}

/** One kind of server: how it is found, brought here and started. */
export interface ServerKind {
  readonly name: ServerName;
  /** Whether a test runs on it. One that waits for its adapter is started by its name alone. */
  readonly isUsed: boolean;
  /** The environment variable with the address of one that runs already. */
  readonly variable: string;
  /** The one that is installed in the ignored folder, or in the folder of KEYTURN_TEST_SERVERS; null where none is. */
  readonly installed: () => Promise<Installed | null>;
  /** Brings it into the ignored folder from a package registry; null where no registry has it. */
  readonly install: (() => Promise<void>) | null;
  /** Resolves where it answers as it should at that address, with its version where it tells it. Else it throws. */
  readonly answers: (address: string) => Promise<string | null>;
  /** The port within its container, where `compose.yaml` has it. */
  readonly composePort: number | null;
  readonly hasRest: boolean;
}
