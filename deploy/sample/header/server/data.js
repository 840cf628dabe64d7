exports.index = (environment, callback, context) => {
  callback(null, {
    title: context.title,
    customer: context.customer,
    instance: environment.instance,
    mothership: environment.mothership,
  })
}
