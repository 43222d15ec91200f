import * as z from 'zod'
import { file, fileListQuery, filePage, fileParams, newFileQuery } from '../../../protocol/file.ts'
import type { LargeBodies } from '../../requests/large-bodies.ts'
import { API, callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'

const tags = ['files']

/**
 * The one type of upload bodies. A page of another origin cannot send it without a preflight, as it can the types of
 * forms.
 */
const BYTES_TYPE = 'application/octet-stream'

const bytes = z.custom<Buffer>((value) => value instanceof Uint8Array, `expected bytes as ${BYTES_TYPE}`)

/** Text as RFC 8187 has it in a header. It excludes more characters than those of addresses. */
const toExtendedValue = (text: string): string =>
  encodeURIComponent(text).replace(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)

/** Files of the caller, to which messages and executions refer. */
export const fileRoutes =
  ({ files, config }: ServerDeps, { preParsing }: Pick<LargeBodies, 'preParsing'>): Routes =>
  async (app) => {
    app.addContentTypeParser<Buffer>(
      BYTES_TYPE,
      { parseAs: 'buffer', bodyLimit: config.files.maxBytes },
      (_request, bytes, done) => done(null, bytes),
    )

    app.post(
      '/files',
      {
        bodyLimit: config.files.maxBytes,
        preParsing,
        schema: {
          operationId: 'addFile',
          tags,
          summary: 'Store a file, whose bytes are the body',
          consumes: [BYTES_TYPE],
          querystring: newFileQuery,
          body: bytes,
          response: { 201: file },
        },
        config: { scope: 'write', idempotent: true },
      },
      async (request, reply) => {
        const added = await files.add(callerOf(request).userId, { ...request.query, data: request.body })
        reply.code(201).header('location', `${API}/files/${added.id}`)
        return added
      },
    )

    app.get(
      '/files',
      {
        schema: {
          operationId: 'listFiles',
          tags,
          summary: 'List your files, newest first',
          querystring: fileListQuery,
          response: { 200: filePage },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const { files: items, nextCursor } = await files.list(callerOf(request).userId, request.query)
        return { items, nextCursor }
      },
    )

    app.get(
      '/files/:fileId',
      {
        schema: {
          operationId: 'getFile',
          tags,
          summary: 'Read the facts of a file',
          params: fileParams,
          response: { 200: file },
        },
        config: { scope: 'read' },
      },
      (request) => files.get(request.params.fileId, callerOf(request).userId),
    )

    app.get(
      '/files/:fileId/content',
      {
        schema: {
          operationId: 'getFileContent',
          tags,
          summary: 'Read the bytes of a file',
          params: fileParams,
          response: {
            200: {
              description: 'The bytes',
              content: { [BYTES_TYPE]: { schema: bytes.meta({ type: 'string', format: 'binary' }) } },
            },
          },
        },
        config: { scope: 'read' },
      },
      async (request, reply) => {
        const { userId } = callerOf(request)
        const { name } = await files.get(request.params.fileId, userId)
        const data = await files.read(request.params.fileId, userId)
        // Always a download of bytes: a browser must not show HTML of users under the origin of the server.
        reply.header('content-type', BYTES_TYPE)
        reply.header('content-disposition', `attachment; filename*=UTF-8''${toExtendedValue(name)}`)
        return reply.send(Buffer.from(data))
      },
    )

    app.delete(
      '/files/:fileId',
      {
        schema: {
          operationId: 'deleteFile',
          tags,
          summary: 'Delete a file; messages that refer to it stay without it',
          params: fileParams,
          response: { 204: z.undefined() },
        },
        config: { scope: 'write' },
      },
      async (request, reply) => {
        await files.remove(request.params.fileId, callerOf(request).userId)
        reply.code(204)
      },
    )
  }
