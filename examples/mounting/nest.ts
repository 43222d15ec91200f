import 'reflect-metadata'
import { Controller, Get, Inject, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { NestExpressApplication } from '@nestjs/platform-express'
import type { Polyphony } from 'polyphony'
import { mountPolyphony } from 'polyphony/server'

const POLYPHONY = Symbol('polyphony')

@Controller()
class AppController {
  private readonly polyphony: Polyphony
  constructor(@Inject(POLYPHONY) polyphony: Polyphony) {
    this.polyphony = polyphony
  }

  @Get()
  show() {
    return `the app, with ${this.polyphony.providers.list().length} providers`
  }
}

/** An app of Nest with Polyphony under /polyphony. The caller listens, and closes both in this order. */
export async function createNestApp(polyphony: Polyphony) {
  @Module({ controllers: [AppController], providers: [{ provide: POLYPHONY, useValue: polyphony }] })
  class AppModule {}

  const app = await NestFactory.create<NestExpressApplication>(AppModule, { logger: ['error'] })
  const mounted = await mountPolyphony(polyphony, { prefix: '/polyphony' })
  // Before `init` and `listen`, which add the body parser.
  app.use('/polyphony', mounted.handler)
  mounted.attach(app.getHttpServer())
  await app.init()
  return { server: app.getHttpServer(), close: () => mounted.close() }
}
