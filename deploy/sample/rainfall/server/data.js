exports.index = (environment, callback) => {
  callback(null, { instance: environment.instance, mothership: environment.mothership })
}
