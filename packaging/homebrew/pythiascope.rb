# Homebrew's formula. It builds an archive of this tree:
#
#   mkdir -p build && git archive --prefix=pythiascope/ -o build/pythiascope.tar.gz HEAD
#   brew install --formula packaging/homebrew/pythiascope.rb
#
# For a tap, put a release's address and its sha256 in the place of url.
class Pythiascope < Formula
  desc "Looks inside Pythia (GPT-NeoX) language models while they run"
  url "file://#{File.expand_path("../../build/pythiascope.tar.gz", __dir__)}"
  version "0.2.0"
  license "MIT"

  depends_on "cmake" => :build
  depends_on "ninja" => :build
  depends_on "node" => :build # D3 and esbuild, for the page
  depends_on "pkgconf" => :build
  depends_on "curl"
  depends_on "jansson"
  depends_on "lapack"
  depends_on "openssl@3"
  depends_on "pcre2"
  depends_on "sleef"
  depends_on "utf8proc"
  depends_on "xxhash"
  depends_on "zlib"
  depends_on "zstd"

  def install
    cd "report/viewer" do
      system "npm", "ci", "--no-audit", "--no-fund"
    end
    system "cmake", "-S", ".", "-B", "build", "-G", "Ninja",
           "-DPSC_BUILD_TESTS=OFF", "-DPSC_BUILD_BENCH=OFF", *std_cmake_args
    system "cmake", "--build", "build"
    system "cmake", "--install", "build"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/pythiascope --version")
    output = shell_output("#{bin}/pythiascope analyze --text 'The sun rose over the'")
    assert_match "Shares of", output
    (testpath/"client.c").write <<~C
      #include <psc.h>
      #include <stdio.h>
      int main(void) { return puts(psc_version()) < 0; }
    C
    system ENV.cc, "client.c", "-I#{include}/pythiascope", "-L#{lib}", "-lpythiascope", "-o", "client"
    assert_match version.to_s, shell_output("./client")
  end
end
