import { onTestFinished } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from '../../support/loopback.ts'
import { type RunningServer, type RunOptions, runServer } from '../running-server.ts'

export interface RemoteProgram extends Loopback {
  readonly requests: readonly LoopbackRequest[]
}

/** A program that runs elsewhere, as a service registers itself: it answers every request with the status. */
export async function runProgram(answer: (request: LoopbackRequest) => unknown = healthy): Promise<RemoteProgram> {
  const requests: LoopbackRequest[] = []
  const loopback = await createLoopback((request) => {
    requests.push(request)
    return answer(request)
  })
  onTestFinished(() => loopback.close())
  return { ...loopback, requests }
}

export const healthy = ({ response }: LoopbackRequest): unknown =>
  response.end(JSON.stringify({ status: 'healthy', secret: 'body of the probe' }))

/** A server with a service of this process, `local`, that is idle. */
export async function runServiceServer(config: PolyphonyConfigInput = {}, options: RunOptions = {}): Promise<RunningServer> {
  const server = await runServer(config, options)
  await server.polyphony.services.register({ id: 'local', type: 'agent', name: 'Local agent', handlers: {} })
  return server
}
