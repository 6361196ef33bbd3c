# The page's viewer. esbuild bundles report/viewer/main.js with parts of D3, its loader and page.css
# whenever a file changes. cmake/embed_viewer.cmake makes C constants of them, the viewer compressed,
# with the hashes for the page's Content-Security-Policy. Sets page_assets, the C file. esbuild is one
# program: node is not needed.
option(PSC_PAGE "Build the HTML page, which needs esbuild and D3" ON)
set(viewer ${CMAKE_SOURCE_DIR}/report/viewer)
set(viewer_build ${CMAKE_BINARY_DIR}/viewer)
set(page_assets ${viewer_build}/page_assets.c)
set(embed ${CMAKE_SOURCE_DIR}/cmake/embed_viewer.cmake)

if(NOT PSC_PAGE)
  execute_process(COMMAND ${CMAKE_COMMAND} -DOUT=${page_assets} -P ${embed}
    COMMAND_ERROR_IS_FATAL ANY)
  return()
endif()

find_program(PSC_ESBUILD esbuild HINTS ${viewer}/node_modules/.bin NO_CMAKE_FIND_ROOT_PATH
  DOC "Bundles the page's viewer")
# Debian and Ubuntu: node-d3. Else npm's folders: the viewer's own, and those of npm install -g d3.
find_path(PSC_D3_FOLDER d3-selection/package.json DOC "The folder of D3's modules"
  NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH
  PATHS /usr/share/nodejs ${viewer}/node_modules
  /opt/homebrew/lib/node_modules/d3/node_modules /usr/local/lib/node_modules/d3/node_modules
  /usr/lib/node_modules/d3/node_modules)
if(NOT PSC_ESBUILD OR NOT PSC_D3_FOLDER)
  message(FATAL_ERROR "The HTML page needs esbuild and D3: run tools/install_dependencies.sh "
    "(Debian, Ubuntu: apt-get install esbuild node-d3; elsewhere: npm ci in report/viewer), "
    "or pass -DPSC_PAGE=OFF (pip: -C cmake.define.PSC_PAGE=OFF) to build without the page.")
endif()

file(GLOB_RECURSE viewer_files CONFIGURE_DEPENDS ${viewer}/*.js ${viewer}/*.css)
list(FILTER viewer_files EXCLUDE REGEX "/node_modules/")
set(esbuild_flags --bundle --minify --charset=utf8 --legal-comments=eof --log-level=warning)
set(bundle ${CMAKE_COMMAND} -E env NODE_PATH=${PSC_D3_FOLDER} ${PSC_ESBUILD} ${esbuild_flags})
add_custom_command(OUTPUT ${page_assets}
  COMMAND ${bundle} ${viewer}/main.js --format=iife --target=es2020
  --outfile=${viewer_build}/viewer.js
  COMMAND ${bundle} ${viewer}/loader.js --format=iife --target=es2020
  --outfile=${viewer_build}/loader.js
  COMMAND ${bundle} ${viewer}/style/page.css --outfile=${viewer_build}/viewer.css
  COMMAND ${CMAKE_COMMAND} -DLOADER=${viewer_build}/loader.js -DVIEWER=${viewer_build}/viewer.js
  -DSTYLE=${viewer_build}/viewer.css -DOUT=${page_assets} -P ${embed}
  DEPENDS ${viewer_files} ${embed} COMMENT "Bundling the page's viewer" VERBATIM)
